"""Sets letters with WeasyPrint, for `lettercase bench letters`: one for each line of JSON that comes.

The HTML is a twin of the template `reconsideration_adjusted` for a practice, written for this measurement: the same
blocks, words, table, fonts and languages on the same two pages, tagged as PDF/UA-1 and with all fonts embedded.
The argument is a directory laid out like `templates/`; the first line is the brand. With a second argument the last PDF
is left there, to be looked at.
"""

import json
import pathlib
import sys
import time
import tomllib
from html import escape

import weasyprint
from weasyprint.text.fonts import FontConfiguration

FACES = {
    "NotoSans": "Noto Sans",
    "NotoSansArabic": "Noto Sans Arabic",
    "NotoSansDevanagari": "Noto Sans Devanagari",
    "NotoSansCJKSC": "Noto Sans CJK SC",
    "NotoSansCJKTC": "Noto Sans CJK TC",
    "NotoSansCJKJP": "Noto Sans CJK JP",
    "NotoSansCJKKR": "Noto Sans CJK KR",
}

STYLE = """
@page {
  size: 8.5in 11in; margin: 0.9in 0.875in;
  @bottom-left { content: "%(legal)s · %(phone)s (TTY %(tty)s)"; width: 75%%; %(foot)s }
  @bottom-right { content: "Page " counter(page) " of " counter(pages); width: 25%%; text-align: right; %(foot)s }
}
@page :nth(n + 2) {
  @top-left { content: "%(name)s"; %(head)s }
  @top-right { content: string(letter); text-align: right; %(head)s }
}
html { font: 10.5pt/1.2 "Noto Sans"; }
body { margin: 0 }
.letter { string-set: letter attr(data-line) }
p { margin: 0 0 3pt }
h1 { font-size: 17pt; color: %(primary)s; margin: 0 0 10pt }
h2 { font-size: 12.5pt; line-height: 1.1; color: %(primary)s; margin: 9pt 0 3pt; break-after: avoid }
b { white-space: nowrap }
.letterhead { position: absolute; left: 0; top: -0.3in; width: 3.8in; font-size: 8.5pt; line-height: 1.15 }
.letterhead img { height: 34pt; float: left; margin-right: 9pt }
.letterhead .name { font-size: 12.5pt; font-weight: bold; color: %(primary)s; padding-top: 6pt }
.letterhead .lines { clear: left; padding-top: 4pt }
.quiet { color: #4a4f55 }
.window { position: absolute; left: 0.075in; top: 1.16in; width: 2.92in; height: 1.1in }
.window div { position: absolute; bottom: 0 }
.references { position: absolute; right: 0; top: -0.3in; width: 2.675in; box-sizing: border-box;
  border: 0.5pt solid #b9c0c6; border-top: 2pt solid %(primary)s; padding: 6pt 9pt; font-size: 8.5pt; line-height: 1.15 }
.references td.quiet { white-space: nowrap }
.references td { padding: 1pt 8pt 1pt 0; vertical-align: top }
.body { padding-top: 2.76in }
.short { background: %(tint)s; border-left: 3pt solid %(primary)s; padding: 8pt 12pt; margin: 10pt 0 12pt }
.services { width: 100%%; border-collapse: collapse; font-size: 9.5pt; margin: 8pt 0 12pt; line-height: 1.2 }
.services th { color: %(primary)s; border-bottom: 1pt solid %(primary)s; white-space: nowrap }
.services th, .services td { text-align: left; vertical-align: top; padding: 5pt 4pt }
.services td { border-bottom: 0.5pt solid #b9c0c6 }
.services .cents { text-align: right }
.languages { break-before: page }
.languages section { display: inline-block; vertical-align: top; width: 3.2in; margin: 0 0.15in 4pt 0; line-height: 1.15;
  font-size: 9.5pt }
.languages section:nth-of-type(even) { margin-right: 0 }
.languages section p { margin: 0 }
.languages h3 { font-size: 9.5pt; color: %(primary)s; margin: 0 0 4pt }
.languages .number { direction: ltr; unicode-bidi: isolate; white-space: nowrap; font-weight: bold }
"""


def main():
    top = pathlib.Path(sys.argv[1])
    first = json.loads(sys.stdin.readline())
    brand = first["texts"]
    logo = (top / "brands" / first["brand"] / "logo.svg").as_uri()
    phone = brand["phones"]["practice"]
    languages = tomllib.loads((top / "letters/common/languages.toml").read_text(encoding="utf-8"))["language"]

    colours = brand["colours"]
    small = "font: 8.5pt 'Noto Sans'; color: #4a4f55;"
    style = STYLE % {
        "legal": brand["legal_name"],
        "name": brand["name"],
        "phone": phone,
        "tty": brand["phones"]["tty"],
        "primary": colours["primary"],
        "tint": colours["tint"],
        "foot": f"{small} border-top: 0.5pt solid #b9c0c6; vertical-align: top; padding-top: 5pt; margin-top: 0.2in;",
        "head": f"{small} border-bottom: 0.5pt solid #b9c0c6; vertical-align: bottom; padding-bottom: 5pt;"
        " margin-bottom: 0.28in;",
    }
    for stem, family in FACES.items():
        for face, weight in (("Regular", 400), ("Bold", 700)):
            file = next((top / "fonts").glob(f"{stem}-{face}.*"))
            style += f'@font-face {{ font-family: "{family}"; font-weight: {weight}; src: url({file.as_uri()}) }}\n'
    fonts = FontConfiguration()
    sheet = weasyprint.CSS(string=style, font_config=fonts)
    print(json.dumps({"version": weasyprint.__version__}), flush=True)
    for line in sys.stdin:
        letter = json.loads(line)
        began = time.process_time()
        html = letter_html(letter, brand, logo, phone, languages)
        document = weasyprint.HTML(string=html, base_url=str(top)).render(
            stylesheets=[sheet], font_config=fonts, pdf_variant="pdf/ua-1"
        )
        pdf = document.write_pdf(pdf_variant="pdf/ua-1")
        cpu_s = time.process_time() - began
        if len(sys.argv) > 2:
            pathlib.Path(sys.argv[2]).write_bytes(pdf)
        print(json.dumps({"cpu_s": cpu_s, "pages": len(document.pages), "pdf_bytes": len(pdf)}), flush=True)


def span(first, last):
    return first if last in (None, first) else f"{first} to {last}"


def letter_html(letter, brand, logo, phone, languages):
    e = escape
    head, details = letter["head"], letter["details"]
    claim, member, practice, to = head["claim"], head["member"], head["practice"], head["addressee"]
    references = [
        ("Date", head["date"]),
        ("Letter number", head["letter_number"]),
        ("Case number", head["case"]["number"]),
        ("Claim number", claim["number"]),
        ("Date of service", span(claim["service_from"], claim["service_to"])),
        ("Patient", member["name"]),
        ("Member ID", member["member_id"]),
        ("Practice", practice["name"]),
        ("Tax ID", practice["tin"]),
        ("Provider", practice["provider"]),
    ]
    window = [to["attention"], to["name"], *to["lines"], f"{to['city']}, {to['state']} {to['zip']}"]
    columns = ("service_on", "code", "description", "billed_cents", "paid_before_cents", "paid_now_cents", "member_owes_cents")
    names = ("Date of service", "Code", "Service", "Billed", "Paid before", "Paid now", "Member owes")
    kind = lambda column: ' class="cents"' if column.endswith("_cents") else ""
    heads = "".join(f'<th scope="col"{kind(c)}>{n}</th>' for c, n in zip(columns, names))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind(c)}>{e(str(line[c]))}</td>" for c in columns) + "</tr>" for line in details["lines"]
    )
    others = "".join(language_html(language, phone) for language in languages)
    return f"""<!doctype html><html lang="en-US"><head><meta charset="utf-8">
<title>We changed our decision on your claim</title><meta name="author" content="{e(brand['legal_name'])}"></head>
<body><div class="letter" data-line="Letter {e(head['letter_number'])} · {e(head['date'])}">
<div class="letterhead"><img src="{logo}" alt="{e(brand['logo_alt'])}">
<div class="name">{e(brand['name'])}</div><div class="quiet">{e(brand['tagline'])}</div>
<div class="lines">{'<br>'.join(map(e, brand['return_address']['lines']))}</div></div>
<div class="window"><div>{'<br>'.join(e(line) for line in window if line)}</div></div>
<div class="references"><table>{''.join(
    f'<tr><td class="quiet">{name}</td><td><strong>{e(value)}</strong></td></tr>' for name, value in references
)}</table></div>
<div class="body">
<h1>We changed our decision on your claim</h1>
<p>Dear {e(to['name'])}:</p>
<div class="short"><strong>We looked again at claim {e(claim['number'])} and changed how it is paid.</strong> We will pay
<b>{e(details['additional_payment_cents'])}</b> more, including {e(details['interest_cents'])} in interest, by
<b>{e(details['pay_by'])}</b>.</div>
<h2>What did we change, and why?</h2>
<p>We decided this on {e(details['decided_on'])}.</p>
{''.join(f'<p>{e(paragraph)}</p>' for paragraph in details['explanation'])}
<h2>How is each service paid now?</h2>
<table class="services"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>
<h2>What do you need to do?</h2>
<p>Nothing. The payment comes the way you are paid now. If the patient paid you more than they owe, please pay it back to
them.</p>
<h2>What if you do not agree?</h2>
<p>Call us. We can tell you how we worked out the payment, and what you can do next.</p>
<h2>Do you have questions?</h2>
<p>Call us at <b>{e(phone)}</b> (TTY {e(brand['phones']['tty'])}), {e(brand['phones']['hours'])}, or sign in at
<b>{e(brand['portal'])}</b>. Please have letter number <b>{e(head['letter_number'])}</b> ready.</p>
<p>Sincerely,<br><strong>{e(brand['name'])}</strong></p>
<div class="languages"><h2>Help in your language</h2>
<p>If you, or someone you are helping, needs this letter in another language, call <b>{e(phone)}</b> (TTY
{e(brand['phones']['tty'])}). Interpreters are free. You can also have this letter in large print, in braille, or read to
you.</p>{others}</div>
</div></div></body></html>"""


def language_html(language, phone):
    fonts = f"'{language['font']}', 'Noto Sans'" if "font" in language else "'Noto Sans'"
    lang = "-".join(filter(None, (language["lang"], language.get("region"))))
    text = escape(language["text"]).replace("{phone}", f'<span class="number">{escape(phone)}</span>')
    return (
        f'<section lang="{lang}" dir="{language.get("dir", "ltr")}" style="font-family: {escape(fonts)}">'
        f"<h3>{escape(language['name'])}</h3><p>{text}</p></section>"
    )


main()
