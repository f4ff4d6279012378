"""Scans, faxes, photos and screens: pages of paper as a machine or a telephone would have seen them."""

import math
import random
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, TiffImagePlugin

FONTS = "/usr/share/fonts/truetype/liberation"


def font(size, face="LiberationSans-Regular"):
    return ImageFont.truetype(f"{FONTS}/{face}.ttf", size)


def pages(pdf, dpi=200):
    """A PDF's pages as grey pictures."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["pdftoppm", "-r", str(dpi), "-gray", str(pdf), f"{place}/p"], check=True)
        return [Image.open(file).copy() for file in sorted(Path(place).glob("p-*.pgm"))]


def noise(size, seed, low, high):
    """Grey grain, the same each time."""
    grain = random.Random(seed).randbytes(size[0] * size[1])
    return Image.frombytes("L", size, grain).point(lambda v: low + v * (high - low) // 255)


def crooked(page, degrees, fill=255):
    """A page that went in not quite straight."""
    return page.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=fill)


def fax(page, seed, head, degrees=0.4, size=(1728, 2200), specks=70):
    """A page as a fax machine sends it: black and white, a little crooked, some specks, the sender's line on top."""
    grey = crooked(page, degrees).resize(size, Image.Resampling.LANCZOS)
    mono = grey.point(lambda v: 255 if v > 150 else 0)
    pen = ImageDraw.Draw(mono)
    dust = random.Random(seed)
    for _ in range(specks):
        x, y = dust.randrange(size[0]), dust.randrange(size[1])
        pen.rectangle([x, y, x + dust.randrange(3), y + dust.randrange(2)], fill=0)
    pen.rectangle([0, 0, size[0], 44], fill=255)
    pen.text((40, 8), head, font=font(28, "LiberationMono-Regular"), fill=0)
    return mono.convert("1")


def squeeze(page):
    """The same page in a fax's standard resolution: half the lines."""
    return page.convert("L").resize((page.width, page.height // 2), Image.Resampling.BILINEAR).point(lambda v: 255 if v > 140 else 0).convert("1")


def tiff(path, frames, compression, dpi):
    """A TIFF of one or many pages, without the time or program it was made by."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    frames[0].save(path, save_all=True, append_images=frames[1:], compression=compression, dpi=dpi, tiffinfo=tags)


def scanned(page, seed, degrees):
    """A grey scan: paper tone, grain, a dark edge where the lid did not close."""
    grey = crooked(page, degrees, 238)
    grey = ImageChops.multiply(grey, noise(grey.size, seed, 226, 250).filter(ImageFilter.GaussianBlur(1.2)))
    pen = ImageDraw.Draw(grey)
    for at in range(14):
        pen.line([(at, 0), (at, grey.height)], fill=90 + at * 10)
    return grey


def photo(page, path, seed, orientation=None, quality=62, size=(1200, 1600), tint=(248, 244, 232), desk=(96, 72, 52)):
    """A sheet on a desk, seen by a telephone's camera held askew in lamp light."""
    width, height = size
    wood = Image.new("RGB", size, desk)
    grain = noise((width, 40), seed, 0, 60).resize(size, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(2))
    wood = ImageChops.add(wood, Image.merge("RGB", [grain] * 3))
    sheet = Image.merge("RGB", [page.point(lambda v, t=t: v * t // 255) for t in tint])
    corners = [(0.09, 0.07), (0.93, 0.045), (0.955, 0.95), (0.06, 0.93)]
    target = [(x * width, y * height) for x, y in corners]
    source = [(0, 0), (sheet.width, 0), (sheet.width, sheet.height), (0, sheet.height)]
    coefficients = homography(target, source)
    warped = sheet.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    mask = Image.new("L", sheet.size, 255).transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    shadow = ImageChops.offset(mask, 14, 18).filter(ImageFilter.GaussianBlur(14)).point(lambda v: v * 110 // 255)
    wood.paste((20, 14, 10), (0, 0), shadow)
    wood.paste(warped, (0, 0), mask)
    # Light falls from the upper left; the far corner is darker.
    light = Image.new("L", (60, 80))
    light.putdata([max(120, int(255 - 2.1 * math.hypot(x - 15, (y - 18) * 0.8))) for y in range(80) for x in range(60)])
    light = light.resize(size, Image.Resampling.BICUBIC)
    shot = ImageChops.multiply(wood, Image.merge("RGB", [light] * 3)).filter(ImageFilter.GaussianBlur(0.6))
    speck = noise(size, seed + 1, 244, 255)
    shot = ImageChops.multiply(shot, Image.merge("RGB", [speck] * 3))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Samplephone", "SP-4", "2026:11:14 18:22:05"
    if orientation == 6:
        # Held upright, stored sideways: the viewer turns it by this tag.
        shot = shot.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    shot.save(path, quality=quality, exif=exif, optimize=True)


def homography(target, source):
    """The eight numbers by which Pillow maps target points back to source points."""
    rows, right = [], []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    for at in range(8):
        pivot = max(range(at, 8), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot], right[at], right[pivot] = rows[pivot], rows[at], right[pivot], right[at]
        for row in range(8):
            if row != at:
                factor = rows[row][at] / rows[at][at]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[at])]
                right[row] -= factor * right[at]
    return [right[at] / rows[at][at] for at in range(8)]


def card(member, plan, account):
    """An insurance card."""
    face = Image.new("L", (1100, 690), 255)
    pen = ImageDraw.Draw(face)
    pen.rounded_rectangle([6, 6, 1094, 684], 40, outline=90, width=5)
    pen.rectangle([6, 60, 1094, 170], fill=70)
    pen.text((50, 80), plan, font=font(60, "LiberationSerif-Bold"), fill=255)
    for at, (label, value) in enumerate([("Member", member.name), ("Member ID", member.id), ("Account", account), ("Plan", "Open Choice Network"), ("Effective", "01/01/2026")]):
        pen.text((60, 225 + at * 76), label, font=font(30), fill=110)
        pen.text((330, 217 + at * 76), value, font=font(42, "LiberationSans-Bold"), fill=20)
    pen.text((60, 625), "Providers: send correspondence to P.O. Box 1200, Port Ellery, OR 00417", font=font(26), fill=90)
    sheet = Image.new("L", (1240, 1640), 252)
    sheet.paste(face, (70, 90))
    back = Image.new("L", (1100, 690), 246)
    pen = ImageDraw.Draw(back)
    pen.rounded_rectangle([6, 6, 1094, 684], 40, outline=90, width=5)
    pen.rectangle([6, 90, 1094, 190], fill=40)
    for at, text in enumerate(["This card does not guarantee coverage.", "Precertification is required for inpatient stays and some", "outpatient services. Provider line 503-555-0199.", "Pharmacy questions 503-555-0198."]):
        pen.text((60, 260 + at * 62), text, font=font(34), fill=50)
    sheet.paste(back, (70, 860))
    return sheet


def handwriting(lines, seed, size=(1200, 1560)):
    """Ruled paper with a hasty hand: each word a little up or down and aslant."""
    sheet = Image.new("L", size, 250)
    pen = ImageDraw.Draw(sheet)
    for y in range(190, size[1], 66):
        pen.line([(0, y), (size[0], y)], fill=205, width=2)
    pen.line([(120, 0), (120, size[1])], fill=190, width=3)
    hand = random.Random(seed)
    face = font(44, "LiberationSerif-Italic")
    for at, line in enumerate(lines):
        x = 150 + hand.randrange(-8, 14)
        for word in line.split():
            box = face.getbbox(word)
            ink = Image.new("L", (box[2] + 24, 84), 0)
            ImageDraw.Draw(ink).text((8, 12), word, font=face, fill=255)
            ink = ink.rotate(hand.uniform(-2.5, 3.2), resample=Image.Resampling.BICUBIC)
            sheet.paste(55, (x, 131 + at * 66 + hand.randrange(-6, 5)), ink)
            x += box[2] + hand.randrange(10, 20)
    return sheet


def screen(path, title, tabs, pairs, head, lines, banner):
    """A web portal's page as a screenshot."""
    shot = Image.new("RGB", (1280, 800), "#f2f4f7")
    pen = ImageDraw.Draw(shot)
    pen.rectangle([0, 0, 1280, 38], fill="#dde1e6")
    for at, colour in enumerate(["#ed6a5e", "#f5bf4f", "#61c554"]):
        pen.ellipse([16 + at * 22, 12, 30 + at * 22, 26], fill=colour)
    pen.rounded_rectangle([110, 7, 1180, 31], 12, fill="white")
    pen.text((128, 11), "providers.meridian.example/claims", font=font(14), fill="#555555")
    pen.rectangle([0, 38, 1280, 98], fill="#173f5f")
    pen.text((40, 52), "Meridian Health Plan", font=font(27, "LiberationSerif-Bold"), fill="white")
    for at, tab in enumerate(tabs):
        pen.text((560 + at * 170, 60), tab, font=font(17), fill="white" if at == 1 else "#a9c1d4")
    pen.line([(724, 94), (860, 94)], fill="#f5bf4f", width=4)
    pen.text((40, 122), title, font=font(26, "LiberationSans-Bold"), fill="#1d2733")
    pen.rounded_rectangle([40, 170, 1240, 420], 8, fill="white", outline="#cdd4db")
    for at, (label, value) in enumerate(pairs):
        x, y = 70 + (at % 2) * 590, 192 + (at // 2) * 44
        pen.text((x, y), label, font=font(16), fill="#66717d")
        pen.text((x + 190, y), value, font=font(17, "LiberationSans-Bold"), fill="#1d2733")
    pen.rounded_rectangle([40, 438, 1240, 486], 6, fill="#fdecea", outline="#e2a49c")
    pen.text((62, 451), banner, font=font(17), fill="#8a1f11")
    pen.rectangle([40, 506, 1240, 544], fill="#e4e9ee")
    step = 1160 // len(head)
    for at, text in enumerate(head):
        pen.text((60 + at * step, 515), text, font=font(16, "LiberationSans-Bold"), fill="#36414c")
    for row, values in enumerate(lines):
        y = 544 + row * 40
        pen.rectangle([40, y, 1240, y + 40], fill="white", outline="#dfe4e9")
        for at, text in enumerate(values):
            pen.text((60 + at * step, y + 11), text, font=font(16), fill="#1d2733")
    shot.quantize(64).save(path, optimize=True)


def cardiogram(path, heading, seed):
    """An ECG strip on its pink grid: rhythm with an early beat now and then."""
    strip = Image.new("RGB", (1400, 620), "#fff6f4")
    pen = ImageDraw.Draw(strip)
    for x in range(0, 1400, 10):
        pen.line([(x, 0), (x, 620)], fill="#f0a8a0" if x % 50 == 0 else "#fbdcd8")
    for y in range(0, 620, 10):
        pen.line([(0, y), (1400, y)], fill="#f0a8a0" if y % 50 == 0 else "#fbdcd8")
    for at, text in enumerate(heading):
        pen.text((24, 14 + at * 26), text, font=font(20, "LiberationMono-Regular"), fill="#222222")
    heart = random.Random(seed)
    for lead, (name, scale) in enumerate([("I", 0.7), ("II", 1.0), ("V5", 1.25)]):
        base, points, x, beat = 210 + lead * 150, [], 20, 0
        pen.text((26, base - 66), name, font=font(20, "LiberationSans-Bold"), fill="#222222")
        while x < 1380:
            length = 118 if beat % 6 == 4 else 162 + heart.randrange(-5, 6)
            for step in range(length):
                at = step / 162
                wave = (9 * math.exp(-((at - 0.18) / 0.035) ** 2) - 8 * math.exp(-((at - 0.31) / 0.010) ** 2)
                        + 74 * math.exp(-((at - 0.335) / 0.011) ** 2) - 20 * math.exp(-((at - 0.36) / 0.012) ** 2)
                        + 17 * math.exp(-((at - 0.60) / 0.06) ** 2))
                points.append((x + step, base - scale * wave + heart.uniform(-0.7, 0.7)))
            x, beat = x + length, beat + 1
        pen.line([p for p in points if p[0] < 1380], fill="#111111", width=2)
    pen.text((24, 592), "25 mm/s   10 mm/mV   0.05-150 Hz", font=font(16, "LiberationMono-Regular"), fill="#444444")
    strip.quantize(16).save(path, optimize=True)


def audiogram(path, heading, right, left):
    """Thresholds of both ears over frequency, as audiologists chart them."""
    chart = Image.new("RGB", (900, 760), "white")
    pen = ImageDraw.Draw(chart)
    for at, text in enumerate(heading):
        pen.text((40, 18 + at * 26), text, font=font(18), fill="#222222")
    box, tones, levels = (110, 180, 850, 700), [250, 500, 1000, 2000, 4000, 8000], range(-10, 121, 10)
    across = lambda tone: box[0] + 40 + tones.index(tone) * (box[2] - box[0] - 80) // 5
    down = lambda level: box[1] + (level + 10) * (box[3] - box[1]) // 130
    for level in levels:
        pen.line([(box[0], down(level)), (box[2], down(level))], fill="#c8ced4")
        pen.text((66, down(level) - 8), str(level), font=font(14), fill="#444444")
    for tone in tones:
        pen.line([(across(tone), box[1]), (across(tone), box[3])], fill="#c8ced4")
        pen.text((across(tone) - 16, box[1] - 22), str(tone), font=font(14), fill="#444444")
    pen.rectangle(box, outline="#444444")
    for values, colour, mark in ((right, "#c0261c", "O"), (left, "#1d4fa3", "X")):
        points = [(across(tone), down(level)) for tone, level in zip(tones, values)]
        pen.line(points, fill=colour, width=3)
        for x, y in points:
            pen.text((x - 10, y - 14), mark, font=font(26, "LiberationSans-Bold"), fill=colour)
    pen.text((110, 715), "Frequency (Hz) across, hearing level (dB) down.  O right ear   X left ear", font=font(15), fill="#444444")
    chart.quantize(16).save(path, optimize=True)


def leaf(path, colour):
    """A practice's mark for its letters."""
    mark = Image.new("RGB", (240, 240), "white")
    pen = ImageDraw.Draw(mark)
    pen.pieslice([-60, 30, 210, 300], 270, 360, fill=colour)
    pen.pieslice([30, -60, 300, 210], 90, 180, fill=colour)
    pen.line([(40, 200), (180, 60)], fill="white", width=8)
    mark.save(path)
