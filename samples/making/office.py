"""Word and Excel files, old and new, without a date or random part of the day they were made."""

import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import docx
import openpyxl
import xlwt
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Inches, Pt, RGBColor
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter

from . import world

DAY = "2026-11-16T09:00:00Z"


def settle(path):
    """Writes a zip-based file again with one fixed time in it, entry by entry in its order."""
    with zipfile.ZipFile(path) as old:
        entries = [(item.filename, old.read(item)) for item in old.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in entries:
            if name == "docProps/core.xml":
                data = re.sub(rb"(<dcterms:(created|modified)[^>]*>)[^<]*", rb"\g<1>" + DAY.encode(), data)
            item = zipfile.ZipInfo(name, (2026, 11, 16, 9, 0, 0))
            item.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(item, data)


def shade(cell, colour):
    """A table cell's background."""
    mark = OxmlElement("w:shd")
    mark.set(qn("w:val"), "clear")
    mark.set(qn("w:fill"), colour.lstrip("#"))
    cell._tc.get_or_add_tcPr().append(mark)


def word(path, practice, title, date, pairs, paragraphs, table=None, sign=None, logo=None):
    """A .docx on the practice's letterhead. A paragraph may begin with `# ` (heading) or `- ` (bullet)."""
    document = docx.Document()
    section = document.sections[0]
    section.page_width, section.page_height = Inches(8.5), Inches(11)
    section.left_margin = section.right_margin = Inches(1)
    section.top_margin = section.bottom_margin = Inches(0.8)
    style = document.styles["Normal"]
    style.font.name, style.font.size = "Liberation Serif", Pt(11)
    style.paragraph_format.space_after = Pt(7)
    colour = RGBColor.from_string(practice.colour.lstrip("#").upper())

    head = section.header.paragraphs[0]
    if logo:
        head.add_run().add_picture(str(logo), height=Inches(0.42))
        head.add_run("  ")
    name = head.add_run(practice.name)
    name.bold, name.font.size, name.font.color.rgb = True, Pt(16), colour
    under = section.header.add_paragraph(f"{practice.street}, {practice.town}  ·  Tel. {practice.telephone}")
    under.runs[0].font.size = Pt(8.5)
    foot = section.footer.paragraphs[0]
    foot.alignment = WD_ALIGN_PARAGRAPH.CENTER
    foot.add_run("Confidential: contains health information.").font.size = Pt(8)

    document.add_paragraph(date)
    line = document.add_paragraph().add_run(title)
    line.bold, line.font.size, line.font.color.rgb = True, Pt(14), colour
    if pairs:
        block = document.add_table(rows=0, cols=2)
        block.style = "Table Grid"
        for label, value in pairs:
            left, right = block.add_row().cells
            left.width, right.width = Inches(2), Inches(4.5)
            left.text, right.text = label, str(value)
            left.paragraphs[0].runs[0].bold = True
            shade(left, "#eef1f4")
            for cell in (left, right):
                cell.paragraphs[0].paragraph_format.space_after = Pt(1)
                cell.paragraphs[0].runs[0].font.size = Pt(10)
        document.add_paragraph()
    for text in paragraphs:
        if text.startswith("# "):
            run = document.add_paragraph().add_run(text[2:])
            run.bold, run.font.color.rgb = True, colour
        elif text.startswith("- "):
            document.add_paragraph(text[2:], style="List Bullet")
        else:
            document.add_paragraph(text)
    if table:
        head, lines = table[0], table[1:]
        shape = document.add_table(rows=1, cols=len(head))
        shape.style = "Table Grid"
        for cell, text in zip(shape.rows[0].cells, head):
            cell.text = text
            cell.paragraphs[0].runs[0].bold = True
            shade(cell, "#dfe6ec")
        for values in lines:
            for cell, text in zip(shape.add_row().cells, values):
                cell.text = str(text)
        for row in shape.rows:
            for cell in row.cells:
                cell.paragraphs[0].paragraph_format.space_after = Pt(1)
                for run in cell.paragraphs[0].runs:
                    run.font.size = Pt(9.5)
        document.add_paragraph()
    if sign:
        document.add_paragraph("Sincerely,")
        document.add_paragraph(f"{sign.name}\n{sign.practice.name}\nNPI {sign.npi}   TIN {sign.practice.tin_hyphenated}")
    document.core_properties.author = practice.name
    document.core_properties.title = title
    document.core_properties.comments = "Synthetic sample"
    document.save(path)
    settle(path)


def old_word(path, **parts):
    """A Word 97-2003 file: the same page, saved by LibreOffice in the old format."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / f"{path.stem}.docx"
        word(source, **parts)
        subprocess.run(
            ["soffice", f"-env:UserInstallation=file://{place}/profile", "--headless", "--convert-to", "doc:MS Word 97",
             "--outdir", place, str(source)],
            check=True, capture_output=True, timeout=180,
        )
        shutil.copyfile(Path(place) / f"{path.stem}.doc", path)


THIN = Border(*[Side(style="thin", color="AAB4BE")] * 4)


def sheet(book, title, colour, heading, pairs, head, lines, widths, money=(), notes=()):
    """One worksheet: heading, labelled facts, a table, notes below."""
    page = book.create_sheet(title)
    page["A1"] = heading
    page["A1"].font = Font(name="Liberation Sans", size=14, bold=True, color=colour.lstrip("#"))
    row = 3
    for label, value in pairs:
        page.cell(row, 1, label).font = Font(name="Liberation Sans", bold=True)
        page.cell(row, 2, value)
        row += 1
    row += 1
    for column, text in enumerate(head, 1):
        cell = page.cell(row, column, text)
        cell.font = Font(name="Liberation Sans", bold=True, color="FFFFFF")
        cell.fill = PatternFill("solid", fgColor=colour.lstrip("#"))
        cell.alignment = Alignment(wrap_text=True, vertical="center")
        cell.border = THIN
    page.freeze_panes = page.cell(row + 1, 1)
    for line in lines:
        row += 1
        for column, value in enumerate(line, 1):
            cell = page.cell(row, column, value)
            cell.border = THIN
            if column - 1 in money:
                cell.number_format = "#,##0.00"
            if isinstance(value, str) and value in ("High", "Low"):
                cell.font = Font(name="Liberation Sans", bold=True, color="B00020")
    for text in notes:
        row += 2
        page.cell(row, 1, text).font = Font(name="Liberation Sans", italic=True, size=9)
    for column, width in enumerate(widths, 1):
        page.column_dimensions[get_column_letter(column)].width = width
    page.page_setup.orientation, page.page_setup.fitToWidth, page.page_setup.fitToHeight = "landscape", 1, 0
    page.sheet_properties.pageSetUpPr = openpyxl.worksheet.properties.PageSetupProperties(fitToPage=True)


def workbook(path, author, *sheets):
    """A .xlsx of these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for parts in sheets:
        sheet(book, **parts)
    book.properties.creator = author
    book.save(path)
    settle(path)


def old_workbook(path, title, heading, pairs, head, lines, widths, money=(), total=None):
    """An Excel 97-2003 file."""
    book = xlwt.Workbook(encoding="utf-8")
    page = book.add_sheet(title)
    big = xlwt.easyxf("font: name Liberation Sans, bold on, height 280")
    bold = xlwt.easyxf("font: name Liberation Sans, bold on")
    dark = xlwt.easyxf("font: name Liberation Sans, bold on, colour white; pattern: pattern solid, fore_colour dark_teal; align: wrap on; borders: left thin, right thin, top thin, bottom thin")
    plain = xlwt.easyxf("font: name Liberation Sans; borders: left thin, right thin, top thin, bottom thin")
    cash = xlwt.easyxf("font: name Liberation Sans; borders: left thin, right thin, top thin, bottom thin", num_format_str="#,##0.00")
    page.write(0, 0, heading, big)
    row = 2
    for label, value in pairs:
        page.write(row, 0, label, bold)
        page.write(row, 1, value)
        row += 1
    row += 1
    for column, text in enumerate(head):
        page.write(row, column, text, dark)
    for line in lines:
        row += 1
        for column, value in enumerate(line):
            page.write(row, column, value, cash if column in money else plain)
    if total is not None:
        row += 1
        page.write(row, total - 1, "Total", bold)
        page.write(row, total, sum(line[total] for line in lines), cash)
    for column, width in enumerate(widths):
        page.col(column).width = 256 * width
    page.portrait, page.fit_width_to_pages, page.fit_height_to_pages = False, 1, 0
    page.set_fit_num_pages(1)
    book.save(str(path))
