//! Reads an Intelligent Mail barcode off a picture and decodes it, by USPS-B-3200 and without our encoder.

use lettercase::paper::production::plan::Area;

use super::picture::Picture;

/// Which bit of the ten characters stands in which half of which bar (USPS-B-3200, appendix D, table IV): descenders are
/// 1 to 65, ascenders 66 to 130; 13 bits a character, the lowest first.
const PLACES: [usize; 130] = [
    67, 6, 78, 16, 86, 95, 34, 40, 45, 113, 117, 121, 62, 87, 18, 104, 41, 76, 57, 119, 115, 72, 97, 2, 127, 26, 105,
    35, 122, 52, 114, 7, 24, 82, 68, 63, 94, 44, 77, 112, 70, 100, 39, 30, 107, 15, 125, 85, 10, 65, 54, 88, 20, 106,
    46, 66, 8, 116, 29, 61, 99, 80, 90, 37, 123, 51, 25, 84, 129, 56, 4, 109, 96, 28, 36, 47, 11, 71, 33, 102, 21, 9,
    17, 49, 124, 79, 64, 91, 42, 69, 53, 60, 14, 1, 27, 103, 126, 75, 89, 50, 120, 19, 32, 110, 92, 111, 130, 59, 31,
    12, 81, 43, 55, 5, 74, 22, 101, 128, 58, 118, 48, 108, 38, 98, 93, 23, 83, 13, 73, 3,
];

/// The bars in this part of a picture: F, A, D or T each.
pub(super) fn bars(picture: &Picture, area: &Area) -> String {
    let (pitch, third) = ((area.right - area.left) / 64.5, (area.bottom - area.top) / 3.0);
    let dark = |x: f64, row: f64| picture.at(x, area.top + (row + 0.5) * third) < 128;
    let bar = |i: u32| {
        let x = area.left + (f64::from(i) + 0.25) * pitch;
        assert!(dark(x, 1.0), "bar {i} has no tracker");
        assert!(i == 64 || !dark(x + pitch / 2.0, 1.0), "there is no space behind bar {i}");
        match (dark(x, 0.0), dark(x, 2.0)) {
            (true, true) => 'F',
            (true, false) => 'A',
            (false, true) => 'D',
            (false, false) => 'T',
        }
    };
    (0..65).map(bar).collect()
}

/// The characters with so many bits of 13, in the order of the standard: pairs with their mirror images first, those
/// that are their own mirror image from the end.
fn characters(bits: u32, count: usize) -> Vec<u16> {
    let mut table = vec![0; count];
    let (mut low, mut high) = (0, count - 1);
    for value in 0u16..8192 {
        if value.count_ones() != bits {
            continue;
        }
        let mirrored = value.reverse_bits() >> 3;
        if mirrored == value {
            table[high] = value;
            high = high.wrapping_sub(1);
        } else if mirrored > value {
            table[low] = value;
            table[low + 1] = mirrored;
            low += 2;
        }
    }
    table
}

/// The check of 11 bits over the 102 of the number.
fn check(number: u128) -> u16 {
    let mut rest = 0x7ff_u32;
    for bit in (0..102).rev() {
        let bit = u32::from(number >> bit & 1 == 1);
        let turn = (rest >> 10 & 1) ^ bit == 1;
        rest = rest << 1 & 0x7ff;
        if turn {
            rest ^= 0x735;
        }
    }
    u16::try_from(rest).unwrap()
}

/// The digits that bars stand for.
pub(super) fn decode(bars: &str) -> String {
    let bars: Vec<char> = bars.chars().collect();
    assert_eq!(bars.len(), 65);
    let is_set = |place: usize| {
        if place <= 65 { matches!(bars[place - 1], 'F' | 'D') } else { matches!(bars[place - 66], 'F' | 'A') }
    };
    let (five, two) = (characters(5, 1287), characters(2, 78));
    let (mut words, mut crc) = ([0u128; 10], 0u16);
    for (i, word) in words.iter_mut().enumerate() {
        let character = (0..13).fold(0u16, |c, bit| c | u16::from(is_set(PLACES[13 * i + bit])) << bit);
        let find = |character: u16| {
            let of_two = || two.iter().position(|c| *c == character).map(|at| at + 1287);
            five.iter().position(|c| *c == character).or_else(of_two)
        };
        *word = match find(character) {
            Some(at) => at as u128,
            None => {
                crc |= 1 << i;
                find(!character & 0x1fff).unwrap() as u128
            }
        };
    }
    if words[0] >= 659 {
        crc |= 1 << 10;
        words[0] -= 659;
    }
    assert_eq!(words[9] % 2, 0, "it stands on its head");
    words[9] /= 2;
    let number = words[..9].iter().fold(0, |number, word| number * 1365 + word) * 636 + words[9];
    assert_eq!(check(number), crc);

    let mut tracking = Vec::new();
    let mut rest = number;
    for place in (0..20).rev() {
        let base = if place == 1 { 5 } else { 10 };
        tracking.push((rest % base).to_string());
        rest /= base;
    }
    tracking.reverse();
    let routing = match rest {
        0 => String::new(),
        1..=100_000 => format!("{:05}", rest - 1),
        100_001..=1_000_100_000 => format!("{:09}", rest - 100_001),
        _ => format!("{:011}", rest - 1_000_100_001),
    };
    tracking.concat() + &routing
}

#[test]
fn the_reader_reads_the_examples_of_the_standard() {
    for (digits, bars) in [
        ("01234567094987654321", "ATTFATTDTTADTAATTDTDTATTDAFDDFADFDFTFFFFFTATFAAAATDFFTDAADFTFDTDT"),
        ("0123456709498765432101234", "DTTAFADDTTFTDTFTFDTDDADADAFADFATDDFTAAAFDTTADFAAATDFDTDFADDDTDFFT"),
        ("01234567094987654321012345678", "ADFTTAFDTTTTFATTADTAAATFTFTATDAAAFDDADATATDTDTTDFDTDATADADTDFFTFA"),
        ("0123456709498765432101234567891", "AADTFFDFTDADTAADAATFDTDDAAADDTDTTDAFADADDDTFFFDDTTTADFAAADFTDAADA"),
    ] {
        assert_eq!(decode(bars), digits);
    }
}
