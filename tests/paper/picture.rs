//! Printed sheets as pictures: what a camera above the belt would see.

use std::path::Path;
use std::process::Command;

use lettercase::paper::production::plan::Area;

use super::run;

/// A page in shades of grey: 0 is black.
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) dots: Vec<u8>,
    dpi: f64,
}

impl Picture {
    /// A page of a PDF, numbers from 1.
    pub(super) fn of(pdf: &Path, page: u32, dpi: u32) -> Self {
        let (page, dpi_text) = (page.to_string(), dpi.to_string());
        let pgm = run("pdftoppm", &["-gray", "-r", &dpi_text, "-f", &page, "-l", &page], &[pdf]);
        let mut at = 0;
        let mut word = || {
            let from = at + pgm[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            at = from + pgm[from..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
            String::from_utf8(pgm[from..at].to_vec()).unwrap()
        };
        assert_eq!(word(), "P5");
        let [width, height, most] = [(); 3].map(|()| word().parse::<usize>().unwrap());
        assert_eq!(most, 255);
        let dots = pgm[at + 1..].to_vec();
        assert_eq!(dots.len(), width * height);
        Self { width, height, dots, dpi: f64::from(dpi) }
    }

    /// The shade at a place, in inches.
    pub(super) fn at(&self, x_in: f64, y_in: f64) -> u8 {
        let dot = |inches: f64, most: usize| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on the page")]
            let dot = (inches * self.dpi) as usize;
            dot.min(most - 1)
        };
        self.dots[dot(y_in, self.height) * self.width + dot(x_in, self.width)]
    }

    /// Where something is printed in a part of the page; `None` where it is white.
    pub(super) fn ink(&self, area: &Area) -> Option<Area> {
        let mut ink: Option<Area> = None;
        let step = 1.0 / self.dpi;
        let mut y = area.top + step / 2.0;
        while y < area.bottom {
            let mut x = area.left.max(0.0) + step / 2.0;
            while x < area.right {
                if self.at(x, y) < 160 {
                    let dot = Area { left: x, top: y, right: x, bottom: y };
                    ink = Some(ink.map_or(dot, |ink| Area {
                        left: ink.left.min(x),
                        top: ink.top.min(y),
                        right: ink.right.max(x),
                        bottom: ink.bottom.max(y),
                    }));
                }
                x += step;
            }
            y += step;
        }
        ink
    }

    /// How many dots differ by more than a shade or two, outside these parts.
    pub(super) fn differs(&self, other: &Self, but: &[Area]) -> usize {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let mut count = 0;
        for (i, (a, b)) in self.dots.iter().zip(&other.dots).enumerate() {
            if a.abs_diff(*b) > 24 {
                #[expect(clippy::cast_precision_loss, reason = "a page has few dots")]
                let (x, y) = ((i % self.width) as f64 / self.dpi, (i / self.width) as f64 / self.dpi);
                let left_out = |area: &Area| x > area.left && x < area.right && y > area.top && y < area.bottom;
                count += usize::from(!but.iter().any(left_out));
            }
        }
        count
    }
}

/// Whether ink lies in a part of the page, but for a dot of the picture.
pub(super) fn holds(area: &Area, ink: &Area) -> bool {
    let dot = 1.0 / 400.0;
    let wider = Area { left: area.left - dot, top: area.top - dot, right: area.right + dot, bottom: area.bottom + dot };
    wider.holds(ink)
}

/// The Data Matrix codes on pages, in their order, as another program reads them off the picture: one text a page, empty
/// where it sees none.
pub(super) fn matrices(pdf: &Path) -> Vec<String> {
    const READ: &str = "
import re, sys, subprocess, numpy, zxingcpp
data = subprocess.run(['pdftoppm', '-gray', '-r', '300', sys.argv[1]], check=True, capture_output=True).stdout
at = 0
while at < len(data):
    head = re.compile(rb'P5\\s(\\d+)\\s(\\d+)\\s255\\s').match(data, at)
    width, height, at = int(head[1]), int(head[2]), head.end()
    page = numpy.frombuffer(data, numpy.uint8, width * height, at).reshape(height, width)
    at += width * height
    found = zxingcpp.read_barcodes(page, formats=zxingcpp.BarcodeFormat.DataMatrix)
    print(' '.join(one.text for one in found))
";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin/python");
    let ran = Command::new(python).args(["-c", READ]).arg(pdf).output().unwrap();
    assert!(ran.status.success(), "zxing-cpp (run `make deps`): {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}
