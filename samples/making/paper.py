"""Pages: letters, notes and tables as PDF with embedded fonts, so that their text can be read back."""

import random

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import letter
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, KeepTogether, PageTemplate, Paragraph, Spacer, Table, TableStyle

from . import world

FONTS = "/usr/share/fonts/truetype/liberation"
for name, file in {
    "Sans": "LiberationSans-Regular",
    "Sans-Bold": "LiberationSans-Bold",
    "Serif": "LiberationSerif-Regular",
    "Serif-Bold": "LiberationSerif-Bold",
    "Serif-Italic": "LiberationSerif-Italic",
    "Mono": "LiberationMono-Regular",
}.items():
    pdfmetrics.registerFont(TTFont(name, f"{FONTS}/{file}.ttf"))
pdfmetrics.registerFontFamily("Serif", normal="Serif", bold="Serif-Bold", italic="Serif-Italic", boldItalic="Serif-Bold")
pdfmetrics.registerFontFamily("Sans", normal="Sans", bold="Sans-Bold", italic="Sans", boldItalic="Sans-Bold")

BODY = ParagraphStyle("body", fontName="Serif", fontSize=10.5, leading=14.5, spaceAfter=8)
PLAIN = ParagraphStyle("plain", fontName="Sans", fontSize=9.5, leading=13, spaceAfter=6)
SMALL = ParagraphStyle("small", fontName="Sans", fontSize=8, leading=10.5, textColor=colors.HexColor("#444444"))
HEAD = ParagraphStyle("head", fontName="Sans-Bold", fontSize=10.5, leading=14, spaceBefore=8, spaceAfter=4, keepWithNext=1)
TITLE = ParagraphStyle("title", fontName="Sans-Bold", fontSize=15, leading=20, spaceAfter=8)
CELL = ParagraphStyle("cell", fontName="Sans", fontSize=8.5, leading=11)
CELL_RIGHT = ParagraphStyle("cell-right", parent=CELL, alignment=TA_RIGHT)
CELL_HEAD = ParagraphStyle("cell-head", parent=CELL, fontName="Sans-Bold", textColor=colors.white)


class Signature(Flowable):
    """A pen stroke that is nobody's."""

    def __init__(self, seed, width=150, height=34):
        super().__init__()
        self.seed, self.width, self.height = seed, width, height

    def draw(self):
        pen = random.Random(self.seed)
        ink = self.canv
        ink.saveState()
        ink.setStrokeColor(colors.HexColor("#1b2a6b"))
        ink.setLineWidth(1.1)
        ink.setLineCap(1)
        path = ink.beginPath()
        x, y = 4, self.height * 0.4
        path.moveTo(x, y)
        while x < self.width - 20:
            step = pen.uniform(9, 17)
            path.curveTo(x + step * 0.2, y + pen.uniform(4, 22), x + step * 0.9, y + pen.uniform(-4, 16), x + step, self.height * 0.35 + pen.uniform(-5, 5))
            x, y = x + step, self.height * 0.35 + pen.uniform(-5, 5)
        ink.drawPath(path)
        ink.line(10, 4, self.width - 8, self.height * 0.28)
        ink.restoreState()


class Numbered(canvas.Canvas):
    """Writes `Page n of m` once m is known."""

    foot = ""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept = []

    def showPage(self):
        self.kept.append(dict(self.__dict__))
        self._startPage()

    def save(self):
        for state in self.kept:
            self.__dict__.update(state)
            self.setFont("Sans", 7.5)
            self.setFillColor(colors.HexColor("#555555"))
            self.drawString(0.9 * inch, 0.5 * inch, self.foot)
            self.drawRightString(letter[0] - 0.9 * inch, 0.5 * inch, f"Page {self._pageNumber} of {len(self.kept)}")
            super().showPage()
        super().save()


def letterhead(practice):
    """A painter of the practice's head on a first page and a thin rule on the next ones."""
    colour = colors.HexColor(practice.colour)

    def first(page, _):
        width, height = letter
        page.saveState()
        page.setFillColor(colour)
        page.circle(1.18 * inch, height - 0.86 * inch, 0.27 * inch, fill=1, stroke=0)
        page.setFillColor(colors.white)
        page.setFont("Serif-Bold", 22)
        page.drawCentredString(1.18 * inch, height - 0.965 * inch, practice.name[0])
        page.setFillColor(colour)
        page.setFont("Serif-Bold", 17)
        page.drawString(1.6 * inch, height - 0.84 * inch, practice.name)
        page.setFillColor(colors.HexColor("#444444"))
        page.setFont("Sans", 8.5)
        page.drawString(1.6 * inch, height - 1.03 * inch, f"{practice.street}  |  {practice.town}  |  Tel. {practice.telephone}")
        page.setStrokeColor(colour)
        page.setLineWidth(1.4)
        page.line(0.9 * inch, height - 1.25 * inch, width - 0.9 * inch, height - 1.25 * inch)
        page.restoreState()

    def later(page, _):
        page.saveState()
        page.setStrokeColor(colour)
        page.line(0.9 * inch, letter[1] - 0.8 * inch, letter[0] - 0.9 * inch, letter[1] - 0.8 * inch)
        page.setFont("Sans", 8)
        page.drawString(0.9 * inch, letter[1] - 0.72 * inch, practice.name)
        page.restoreState()

    return first, later


def build(path, practice, story, title, foot="Confidential: contains health information."):
    """Writes the pages. The same story gives the same bytes."""
    first, later = letterhead(practice)
    side = 0.9 * inch
    frame_first = Frame(side, 0.8 * inch, letter[0] - 2 * side, letter[1] - 2.2 * inch, id="first", leftPadding=0, rightPadding=0)
    frame_later = Frame(side, 0.8 * inch, letter[0] - 2 * side, letter[1] - 1.75 * inch, id="later", leftPadding=0, rightPadding=0)
    document = BaseDocTemplate(str(path), pagesize=letter, title=title, author=practice.name, subject="Synthetic sample", invariant=1)
    document.addPageTemplates([
        PageTemplate("first", [frame_first], onPage=first, autoNextPageTemplate="later"),
        PageTemplate("later", [frame_later], onPage=later),
    ])
    document.build(story, canvasmaker=type("Foot", (Numbered,), {"foot": foot}))


def facts(pairs, widths=(1.75 * inch, 4.9 * inch)):
    """The `RE:` block: what a letter is about, one labelled line each."""
    cells = [[Paragraph(f"<b>{label}</b>", CELL), Paragraph(str(value), CELL)] for label, value in pairs if value]
    table = Table(cells, widths, hAlign="LEFT")
    table.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (0, -1), colors.HexColor("#eef1f4")),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5ccd3")),
        ("BOX", (0, 0), (-1, -1), 0.6, colors.HexColor("#9aa5b1")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]))
    return [table, Spacer(1, 10)]


def grid(head, body, widths, colour, right=()):
    """A ruled table; columns in `right` are figures."""
    cells = [[Paragraph(text, CELL_HEAD) for text in head]]
    cells += [[Paragraph(str(text), CELL_RIGHT if at in right else CELL) for at, text in enumerate(line)] for line in body]
    table = Table(cells, widths, repeatRows=1, hAlign="LEFT")
    table.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor(colour)),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor("#f5f7f9")]),
        ("GRID", (0, 0), (-1, -1), 0.35, colors.HexColor("#aab4be")),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]))
    return [table, Spacer(1, 10)]


def about(case=None, claim=None, only=None):
    """What a letter says of its case or claim, in the words letters use."""
    thing = case or claim
    pairs = {
        "Case number": case and case.number,
        "Attachment control number": case and case.acn,
        "Claim number": claim.number if claim else case.claim,
        "Member": thing.member.name,
        "Member ID": thing.member.id,
        "Date of birth": world.us(thing.member.born),
        "Date of service": world.span(thing),
        "Provider": thing.provider.name,
        "NPI": thing.provider.npi,
        "TIN": thing.provider.practice.tin_hyphenated,
    }
    return [(label, value) for label, value in pairs.items() if value and (only is None or label in only)]


def letter_story(date, addressee, pairs, paragraphs, provider, closing="Sincerely,", extra=()):
    """A letter from its parts. A paragraph that begins with `# ` is a heading."""
    story = [Paragraph(date, BODY), Paragraph("<br/>".join([world.PLAN, *addressee]), BODY)]
    story += facts(pairs)
    for text in paragraphs:
        story.append(Paragraph(text[2:], HEAD) if text.startswith("# ") else Paragraph(text, BODY))
    story += list(extra)
    story.append(KeepTogether([
        Paragraph(closing, BODY),
        Signature(provider.npi),
        Paragraph(f"{provider.name}<br/>{provider.practice.name}<br/>NPI {provider.npi}", BODY),
    ]))
    return story
