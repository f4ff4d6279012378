#!/usr/bin/env python3
"""Makes samples/documents and samples/reference anew. The files themselves are committed; run this only to change them.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install python-docx openpyxl xlwt reportlab pillow pikepdf
    apt-get install libreoffice-writer poppler-utils fonts-liberation     # .doc; rasterising; letter shapes
    /tmp/v/bin/python samples/make.py          all of it
    /tmp/v/bin/python samples/make.py --check  only: do scenarios, README and files agree?  (Python 3.11, nothing else)

The same versions of these tools give the same bytes: dates are fixed, chance is seeded. Nothing here is real (see
making/world.py). Codes for procedures are the made-up practices' own service codes; no licensed code set is used.
"""

import random
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
OUT = HERE / "documents"
sys.path.insert(0, str(HERE))

from making import world  # noqa: E402
from making.world import Case, Claim, Member, Practice, Provider, span, us  # noqa: E402


# ---------------------------------------------------------------------------------------------- Whitcombe: RC-7K4M9TX2


def whitcombe():
    from making import office, paper, pictures

    case = Case("RC-7K4M9TX2")
    member, provider = case.member, case.provider
    story = paper.letter_story(
        "August 10, 2026",
        world.PLAN_ADDRESS,
        [("RE", "Letter of medical necessity"), *paper.about(case)],
        [
            "To the reviewing medical director:",
            "I am writing on behalf of my patient, Mrs. Dolores Whitcombe, to ask that the denial of the claim named above be "
            "reconsidered. The claim was denied as not medically necessary on the ground that conservative care had not been "
            "documented. That care took place; its record is enclosed and summed up below.",
            "# History",
            "Mrs. Whitcombe is a 68-year-old retired seamstress whom I have followed since November 2024 for progressive pain of "
            "the right knee (ICD-10 M17.11). She reported pain of 7 out of 10 on stairs, morning stiffness of forty minutes and "
            "giving way twice in the spring of 2026, once with a fall in her kitchen. Standing radiographs of February 2026 show "
            "narrowing of the medial compartment; magnetic resonance imaging of May 2026 shows a displaced tear of the medial "
            "meniscus with a flap lying in the notch.",
            "# What was tried first",
            "Before any procedure was planned she completed fourteen months of care without surgery: supervised physical therapy "
            "(26 visits at Quillfeather Physical Therapy, January to June 2025, and a home programme since), anti-inflammatory "
            "medication, stopped in September 2025 for gastric intolerance, an unloader brace worn from October 2025, weight "
            "loss of 9 kg, and two injections (December 2025 and March 2026) whose relief lasted five and three weeks.",
            "# Why the procedure was needed",
            "Locking that can't be relieved by therapy is mechanical. A displaced flap does not heal and destroys the cartilage "
            "beside it while one waits. Arthroscopic removal of the flap was done on 06/11/2026 without complication; the "
            "operative note and photographs are enclosed. Six weeks later she walks without a cane, climbs stairs with a pain of "
            "2 out of 10 and has not fallen again.",
            "The plan's own criteria ask for mechanical symptoms, imaging that agrees with them and at least twelve weeks of "
            "conservative treatment. All three are met. I ask that the denial be overturned and the claim be processed for payment.",
            "I am available for a conversation with the reviewer on weekdays between 12:30 and 13:30.",
        ],
        provider,
        extra=[paper.Paragraph("Enclosures: operative note of 06/11/2026; itemised statement; therapy discharge summary.", paper.SMALL), paper.Spacer(1, 8)],
    )
    paper.build(OUT / "whitcombe-letter-of-medical-necessity.pdf", provider.practice, story, "Letter of medical necessity")

    story = [paper.Paragraph("OPERATIVE NOTE", paper.TITLE)]
    story += paper.facts([
        ("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Date of service", us(case.start)),
        ("Surgeon", f"{provider.name}, NPI {provider.npi}"), ("Anaesthesia", "General, laryngeal mask"), ("Claim number", case.claim),
    ])
    for head, text in [
        ("Diagnosis before and after", "Displaced flap tear, medial meniscus, right knee; osteoarthritis, medial compartment; grade III wear of the medial femoral condyle over an area of 1.5 by 2 cm."),
        ("Procedure", "Arthroscopy of the right knee with partial medial meniscectomy and removal of two loose bodies."),
        ("Indications", "Locking and giving way over five months despite therapy, bracing and two injections. Risks were discussed on 05/28/2026; she agreed and signed."),
        ("Description", "The patient was identified, the right knee marked by the surgeon and a time-out held with all present agreeing. After induction a tourniquet was placed high on the thigh and not inflated. The leg was prepared and draped in the usual sterile way. Anterolateral and anteromedial portals were made."),
        ("", "The suprapatellar pouch held two cartilaginous loose bodies of 4 and 6 mm, which were removed whole. The patellofemoral joint showed grade II softening. In the medial compartment a flap of the posterior horn was displaced into the notch; it was trimmed to a stable rim with a basket punch and shaver, leaving about 60 per cent of the posterior horn. The root was probed and stable. The anterior cruciate ligament was intact. The lateral compartment was healthy."),
        ("", "The joint was washed with 3 litres of saline, the portals closed, local anaesthetic placed and a soft dressing put on. Counts were right."),
        ("Blood loss and complications", "Less than 10 ml. None."),
        ("Plan", "Weight bearing as tolerated with two crutches for three days, aspirin 81 mg daily for two weeks, therapy from day five, stitches out on 06/22/2026."),
    ]:
        if head:
            story.append(paper.Paragraph(head, paper.HEAD))
        story.append(paper.Paragraph(text, paper.PLAIN))
    story += [paper.Spacer(1, 4), paper.Signature("op-note"), paper.Paragraph(f"Electronically signed by {provider.name}, 06/11/2026 16:42", paper.SMALL)]
    paper.build(OUT / "whitcombe-operative-note.pdf", provider.practice, story, "Operative note")

    office.old_workbook(
        OUT / "whitcombe-itemized-bill.xls",
        "Statement",
        f"{provider.practice.name}: itemized statement",
        [("Patient", member.name), ("Member ID", member.id), ("Claim number", case.claim), ("Case number", case.number),
         ("TIN", provider.practice.tin_hyphenated), ("NPI", provider.npi), ("Date of service", us(case.start)), ("Printed", "08/07/2026")],
        ["Date", "Service code", "Description", "Units", "Unit price", "Amount"],
        [
            [us(case.start), "SV-1042", "Operating room, first hour", 1, 1840.00, 1840.00],
            [us(case.start), "SV-1043", "Operating room, each further quarter hour", 2, 365.00, 730.00],
            [us(case.start), "SV-2210", "Surgeon's fee, knee arthroscopy", 1, 2275.00, 2275.00],
            [us(case.start), "SV-2230", "Removal of loose bodies", 1, 410.00, 410.00],
            [us(case.start), "SV-3105", "Anaesthesia, per 15 minutes", 5, 118.00, 590.00],
            [us(case.start), "SV-4001", "Recovery room, per hour", 2, 244.00, 488.00],
            [us(case.start), "SV-5120", "Supplies: shaver blade, suction tubing, drapes", 1, 396.40, 396.40],
            [us(case.start), "SV-5207", "Crutches, pair", 1, 38.00, 38.00],
        ],
        [14, 16, 46, 8, 14, 14],
        money=(4, 5),
        total=5,
    )
    pictures.photo(pictures.card(member, world.PLAN, member.account), OUT / "whitcombe-insurance-card.jpg", 11, quality=60)


# ------------------------------------------------------------------------------------------------- Okonjo: RC-2H8PWQ5D


def okonjo(scratch):
    from making import office, paper, pictures

    case = Case("RC-2H8PWQ5D")
    member, provider = case.member, case.provider
    story = [paper.Paragraph("DISCHARGE SUMMARY", paper.TITLE)]
    story += paper.facts([
        ("Attachment control number", case.acn), ("Patient", member.name), ("DOB", us(member.born)), ("Admitted", us(case.start)),
        ("Discharged", us(case.end)), ("Attending", f"{provider.name}  NPI {provider.npi}"), ("Tax ID", provider.practice.tin_hyphenated),
    ])
    for text in [
        "# Reason for admission",
        "Chest pressure at rest with palpitations and one episode of near fainting while unloading at the harbour. 54-year-old man, "
        "high blood pressure, father with a heart attack at 51.",
        "# Course",
        "Serial troponin was 0.02, 0.09 and 0.07 ng/mL. The electrocardiogram showed sinus rhythm with frequent early ventricular "
        "beats and flattening of the ST segment in the lateral leads. He was observed on telemetry for two nights: runs of up to "
        "eleven beats of ventricular tachycardia were recorded on 05/05 at 02:14 and 04:50. Echocardiography showed an ejection "
        "fraction of 48 per cent. Stress imaging on 05/06 showed a small reversible defect of the lateral wall.",
        "Because of the recorded tachycardia, discharge from the emergency department to outpatient testing would not have been safe. "
        "This is the point on which the denial for level of care turns, and the telemetry strips are enclosed.",
        "# Medication at discharge",
        "Metoprolol succinate 50 mg daily, atorvastatin 40 mg daily, aspirin 81 mg daily, lisinopril 10 mg daily.",
        "# Follow-up",
        "Cardiology office in seven days; no lifting above 10 kg until then; ambulatory monitor for fourteen days.",
    ]:
        story.append(paper.Paragraph(text[2:], paper.HEAD) if text.startswith("# ") else paper.Paragraph(text, paper.BODY))
    story += paper.grid(
        ["Test", "05/04", "05/05", "05/06", "Reference"],
        [["Troponin I (ng/mL)", "0.02", "0.09", "0.07", "< 0.04"], ["Potassium (mmol/L)", "3.4", "3.9", "4.2", "3.5 - 5.1"],
         ["Magnesium (mg/dL)", "1.6", "2.0", "2.1", "1.7 - 2.4"], ["Creatinine (mg/dL)", "1.0", "1.0", "0.9", "0.7 - 1.3"]],
        [140, 70, 70, 70, 90], provider.practice.colour, right=(1, 2, 3),
    )
    story += [paper.Signature("okonjo"), paper.Paragraph(provider.name, paper.BODY)]
    paper.build(OUT / "okonjo-discharge-summary.pdf", provider.practice, story, "Discharge summary")

    office.old_word(
        OUT / "okonjo-clinic-notes.doc",
        practice=provider.practice,
        title="Cardiology clinic notes",
        date="May 14, 2026",
        pairs=[("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Claim number", case.claim)],
        paragraphs=[
            "# Subjective",
            "First visit after the stay of May 4 to 6. No chest pressure since. Palpitations shortly before sleep, about twice a week, "
            "seconds long. Takes his tablets; a dry cough since the third day of lisinopril.",
            "# Objective",
            "Blood pressure 134/82, pulse 64 with one early beat in a minute of listening. Lungs clear. No swelling.",
            "# Assessment and plan",
            "- Ventricular tachycardia, not sustained, in the setting of low potassium and mild ischaemia: go on with metoprolol.",
            "- Cough: change lisinopril to losartan 50 mg.",
            "- Ambulatory monitor returns on May 20; catheterisation if there are runs of more than fifteen beats.",
            "- Back to work at the port on light duty from May 18; letter given.",
        ],
        table=[["Visit", "BP", "Pulse", "Weight (kg)"], ["05/14/2026", "134/82", "64", "91.4"], ["05/28/2026", "128/78", "61", "90.6"]],
        sign=provider,
    )
    pictures.cardiogram(
        OUT / "okonjo-ecg-strip.gif",
        [f"{member.last.upper()}, {member.first.upper()}   DOB {us(member.born)}   ID {member.id}", f"05-MAY-2026 02:14   Vent. rate 74   {provider.practice.name}"],
        21,
    )
    story = [paper.Paragraph("STRESS TEST REPORT", paper.TITLE)]
    story += paper.facts([*paper.about(case, only={"Case number", "Attachment control number", "Member", "Member ID", "Date of birth", "NPI"}), ("Date of test", "05/06/2026")])
    for text in [
        "Protocol: treadmill, stopped after 7 minutes 40 seconds for fatigue of the legs at 87 per cent of the predicted rate.",
        "Electrocardiogram: 1 mm of flat ST depression in V5 and V6 at peak, gone after three minutes. Single early ventricular beats, one pair.",
        "Imaging: small, mild, reversible defect of the mid lateral wall. Ejection fraction after stress 46 per cent.",
        "Conclusion: abnormal test of low to intermediate risk. Medical treatment; catheterisation if symptoms return.",
    ]:
        story.append(paper.Paragraph(text, paper.BODY))
    story.append(paper.Signature("stress"))
    paper.build(scratch / "stress.pdf", provider.practice, story, "Stress test")
    page = pictures.pages(scratch / "stress.pdf", 204)[0]
    frames = [pictures.fax(page, 31, "07/21/2026 08:51  STONEBROOK CARDIOLOGY      503 555 0142     P. 01/01", 0.7)]
    pictures.tiff(OUT / "okonjo-stress-test-fax.tif", frames, "group4", (204, 196))


# ------------------------------------------------------------------------------------------- Venkataraman: PC-6N2RQ8VX


def venkataraman(scratch):
    from making import office, paper, pictures

    case = Case("PC-6N2RQ8VX")
    member, provider = case.member, case.provider
    story = paper.letter_story(
        "November 9, 2026",
        world.PLAN_ADDRESS,
        [("RE", "Clinical information for precertification"), *paper.about(case)],
        [
            "Please find enclosed what was asked for with the pended request named above: the report of the magnetic resonance imaging of "
            "the left shoulder, the laboratory results before surgery, and this summary.",
            "Ms. Venkataraman, 40, teaches woodwork. She fell on the outstretched arm on 08/02/2026. Since then she can't lift the arm "
            "above the shoulder; strength of abduction is 3 out of 5. Therapy for ten weeks improved movement but not strength.",
            "Imaging shows a full-thickness tear of the supraspinatus tendon of 22 mm with retraction to the top of the humeral head and no "
            "fatty change of the muscle. A tear of this size in a person of this age who works with her arms does not close by itself, and "
            "the muscle degenerates over months. Repair is planned for the date above as an outpatient procedure.",
        ],
        provider,
    )
    draft = scratch / "request.pdf"
    paper.build(draft, provider.practice, story, "Clinical information for precertification")
    append_update(draft, OUT / "venkataraman-clinical-summary.pdf", provider.name)

    office.workbook(
        OUT / "venkataraman-lab-results.xlsx",
        provider.practice.name,
        dict(
            title="Results", colour="#1f5673", heading="Laboratory results before surgery",
            pairs=[("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Case number", case.number),
                   ("Ordering NPI", provider.npi), ("Collected", "11/03/2026 07:55"), ("Reported", "11/03/2026 15:20")],
            head=["Test", "Result", "Unit", "Reference low", "Reference high", "Flag"],
            lines=[["Haemoglobin", 11.4, "g/dL", 12.0, 15.5, "Low"], ["White cells", 6.8, "10^3/uL", 4.0, 11.0, ""], ["Platelets", 274, "10^3/uL", 150, 400, ""],
                   ["Sodium", 139, "mmol/L", 136, 145, ""], ["Potassium", 4.1, "mmol/L", 3.5, 5.1, ""], ["Creatinine", 0.8, "mg/dL", 0.5, 1.1, ""],
                   ["Glucose, fasting", 104, "mg/dL", 70, 99, "High"], ["Haemoglobin A1c", 5.6, "%", 4.0, 5.6, ""], ["INR", 1.0, "", 0.9, 1.1, ""],
                   ["Ferritin", 9, "ng/mL", 15, 150, "Low"], ["Pregnancy test, serum", "negative", "", "", "", ""]],
            widths=[26, 16, 12, 15, 15, 10],
            notes=["Ferritin low: iron started 11/04/2026; to be repeated before surgery. Results were reviewed by the ordering provider."],
        ),
        dict(
            title="Trend", colour="#1f5673", heading="Haemoglobin over time", pairs=[("Member ID", member.id)],
            head=["Date", "Haemoglobin g/dL", "Ferritin ng/mL"],
            lines=[["02/17/2026", 12.6, 24], ["06/09/2026", 12.1, 17], ["11/03/2026", 11.4, 9]], widths=[16, 20, 18],
        ),
    )

    radiologist = Provider("sorensen")
    story = [paper.Paragraph("FAX", paper.TITLE)]
    story += paper.facts([("To", f"{world.PLAN}, precertification"), ("From", radiologist.practice.name), ("Pages", "3 with this one"), ("Attachment control number", case.acn),
                          ("Member", member.name), ("Member ID", member.id)])
    story.append(paper.Paragraph("Imaging report as asked for. If pages are missing please call the number above.", paper.BODY))
    story.append(paper.Spacer(1, 300))
    story.append(paper.Paragraph("This fax is meant for the addressee only. If it reached you by mistake, tell the sender and destroy it.", paper.SMALL))
    paper.build(scratch / "fax1.pdf", radiologist.practice, story, "Fax cover")
    story = [paper.Paragraph("MAGNETIC RESONANCE IMAGING, LEFT SHOULDER", paper.TITLE)]
    story += paper.facts([("Patient", member.name), ("DOB", us(member.born)), ("Exam date", "10/21/2026"), ("Referred by", f"{provider.name}  NPI {provider.npi}"), ("Case number", case.number)])
    for text in [
        "# Technique", "Oblique coronal, oblique sagittal and axial sequences at 3 tesla without contrast.",
        "# Findings",
        "Rotator cuff: full-thickness tear of the supraspinatus at its footprint, 22 mm from front to back, retracted 19 mm to the top of the "
        "humeral head. Tendinosis of the infraspinatus without tear. Subscapularis intact. No fatty infiltration, no loss of bulk.",
        "Biceps: long head in its groove, thickened, with fluid in its sheath. Labrum: fraying of the upper part, no detachment.",
        "Joint and bursa: moderate effusion communicating with the subacromial bursa through the tear. Acromion type II with a spur of 3 mm. "
        "Mild degeneration of the acromioclavicular joint with oedema on both sides. Cartilage preserved. No fracture, no bone bruise left.",
        "Nerves and soft tissue: suprascapular notch free. No mass, no enlarged nodes.",
        "# Comparison", "Radiographs of 08/03/2026.",
        "# Impression",
        "1. Full-thickness supraspinatus tear of 22 mm with retraction of 19 mm, muscle preserved. 2. Biceps tendinosis. 3. Effusion.",
        "The tear was reported by telephone to the referring office on 10/21/2026 at 17:05.",
    ]:
        story.append(paper.Paragraph(text[2:], paper.HEAD) if text.startswith("# ") else paper.Paragraph(text, paper.BODY))
    story += [paper.Signature("mri"), paper.Paragraph(f"Read by {radiologist.name}", paper.BODY)]
    story.append(paper.Paragraph("Measurements", paper.HEAD))
    story += paper.grid(["Structure", "Measure", "Value (mm)"], [["Supraspinatus tear", "front to back", "22"], ["Supraspinatus tear", "retraction", "19"], ["Acromial spur", "length", "3"],
                        ["Acromiohumeral space", "height", "7"], ["Biceps tendon", "thickness", "6"], ["Effusion, axillary pouch", "depth", "8"]], [170, 130, 90], "#444444", right=(2,))
    paper.build(scratch / "fax2.pdf", radiologist.practice, story, "Imaging report")
    sheets = pictures.pages(scratch / "fax1.pdf", 204) + pictures.pages(scratch / "fax2.pdf", 204)
    frames = [
        pictures.fax(sheet, 40 + at, f"11/17/2026 14:0{at + 2}  CEDAR RIDGE IMAGING      503 555 0133     P. 0{at + 1}/0{len(sheets)}", (0.3, -0.5, 0.2)[at % 3])
        for at, sheet in enumerate(sheets)
    ]
    pictures.tiff(OUT / "venkataraman-imaging-fax.tif", frames, "group4", (204, 196))


def append_update(source, target, signer):
    """An incremental update (ISO 32000-1, 7.5.6): the old bytes stay, a note on the page and a second cross-reference follow."""
    import pikepdf

    old = source.read_bytes()
    with pikepdf.open(source) as pdf:
        page, size, root = pdf.pages[0].obj, int(pdf.trailer.Size), pdf.trailer.Root.objgen[0]
        info, marks = pdf.trailer.Info.objgen[0], pdf.trailer.ID.unparse().decode()
        page_number, page_text = page.objgen[0], page.unparse(resolved=True)
    start = int(old.rsplit(b"startxref", 1)[1].split()[0])
    note = size
    contents = f"Addendum 11/13/2026, {signer}: surgery confirmed for 12/07/2026, arm support fitted."
    body = bytearray(old if old.endswith(b"\n") else old + b"\n")
    places = {}

    def add(number, content):
        places[number] = len(body)
        body.extend(b"%d 0 obj\n" % number + content + b"\nendobj\n")

    annotation = f"<< /Type /Annot /Subtype /FreeText /Rect [64 60 548 84] /F 4 /DA (/Helv 9 Tf 0.6 0 0 rg) /Contents ({contents}) /AP << /N {note + 1} 0 R >> >>"
    drawing = f"q 1 0.97 0.8 rg 0 0 484 24 re f BT /Helv 9 Tf 0.6 0 0 rg 6 8 Td ({contents}) Tj ET Q".encode()
    form = (b"<< /Type /XObject /Subtype /Form /BBox [0 0 484 24] /Resources << /Font << /Helv %d 0 R >> >>" % (note + 2)
            + b" /Length %d >>\nstream\n" % len(drawing) + drawing + b"\nendstream")
    add(page_number, page_text.rstrip()[:-2] + b" /Annots [ %d 0 R ] >>" % note)
    add(note, annotation.encode())
    add(note + 1, form)
    add(note + 2, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    table = len(body)
    body += b"xref\n"
    for number, place in sorted(places.items()):
        body += b"%d 1\n%010d 00000 n \n" % (number, place)
    body += b"trailer\n<< /Size %d /Root %d 0 R /Info %d 0 R /ID %s /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (size + 3, root, info, marks.encode(), start, table)
    target.write_bytes(body)


# ------------------------------------------------------------------------------------------------ Quintero: two siblings


def quintero(scratch):
    import pikepdf
    from making import office, paper, pictures

    case = Case("PC-3Y5HT9KB")
    member, provider = case.member, case.provider
    story = [paper.Paragraph("AUDIOLOGY REPORT", paper.TITLE)]
    story += paper.facts([("Attachment control number", case.acn), ("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)),
                          ("Planned service", span(case)), ("Facility NPI", provider.npi), ("Facility TIN", provider.practice.tin_hyphenated)])
    for text in [
        "Marisol, 14, has worn hearing aids in both ears since the age of six. Over the last eighteen months the right ear has lost a "
        "further 25 dB at 1 kHz and above. With an optimally fitted aid she repeats 28 per cent of sentences in quiet and none in noise.",
        "Imaging of the temporal bones (09/29/2026) shows a normal cochlea and nerve on both sides. There is no infection, vaccination is "
        "complete, and the family has met two other families and the rehabilitation team.",
        "A trial of three months with a stronger aid (06/2026 to 09/2026) brought no gain. In our team's view a cochlear implant on the "
        "right is indicated; the left ear keeps its aid. The stay is one night.",
    ]:
        story.append(paper.Paragraph(text, paper.BODY))
    story += paper.grid(["Frequency (Hz)", "250", "500", "1000", "2000", "4000", "8000"],
                        [["Right (dB HL)", 65, 80, 95, 105, 110, 115], ["Left (dB HL)", 45, 50, 60, 70, 75, 80]], [110, 55, 55, 55, 55, 55, 55], provider.practice.colour, right=range(1, 7))
    story += [paper.Signature("audio"), paper.Paragraph("Audiology and cochlear implant programme", paper.BODY)]
    paper.build(scratch / "audiology.pdf", provider.practice, story, "Audiology report")
    with pikepdf.open(scratch / "audiology.pdf") as pdf:
        # Opens without a password; changing it takes one. A hospital's archive exports such files.
        pdf.save(
            OUT / "quintero-audiology-report.pdf",
            static_id=True,
            encryption=pikepdf.Encryption(owner="records-office", user="", R=3, aes=False, metadata=False,
                                          allow=pikepdf.Permissions(modify_other=False, modify_assembly=False, extract=True)),
        )
    pictures.audiogram(
        OUT / "quintero-audiogram.gif",
        [f"{provider.practice.name} - pure tone audiogram", f"{member.name}   DOB {us(member.born)}   Member ID {member.id}", "Tested 10/06/2026   Transducer: insert phones"],
        [65, 80, 95, 105, 110, 115], [45, 50, 60, 70, 75, 80],
    )
    story = paper.letter_story(
        "October 14, 2026", ["Precertification"], paper.about(case, only={"Attachment control number", "Member", "Member ID", "Date of birth"}),
        ["Consent to surgery, cochlear implant right. We, the parents, have been told of the operation, its aims and risks, in our own language, "
         "and of what can be done instead. We had time to ask and agree to the operation on the dates planned.",
         "We know that hearing left in the right ear may be lost, that the device needs fitting and training over a year, and that a second "
         "operation may become necessary."],
        provider, closing="Explained by",
    )
    paper.build(scratch / "consent.pdf", provider.practice, story, "Consent")
    page = pictures.scanned(pictures.pages(scratch / "consent.pdf", 110)[0], 51, -0.6)
    pictures.tiff(OUT / "quintero-signed-consent.tiff", [page.quantize(10).convert("L")], "tiff_adobe_deflate", (110, 110))

    office.word(
        OUT / "quintero-school-health-summary.docx",
        Practice("linden"),
        "School health summary",
        "November 17, 2026",
        [("Student", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Plan", world.PLAN)],
        [
            "To whom it may concern: this summary is sent at the request of the family to support the open request with the plan.",
            "# Hearing and speech in class",
            "Marisol sits in the first row and uses a wireless microphone. Since the spring she has asked for repetition about ten times a "
            "lesson and has stopped taking part in group work. Her marks in oral subjects went from B to D; written work is unchanged.",
            "# Support given",
            "- Note taker in science and history",
            "- Captioned videos",
            "- Speech therapy at school, thirty minutes a week, since 2023",
            "# Remark",
            "We were told that more than one request is being looked at and don't know which number belongs to this letter.",
        ],
    )


# ----------------------------------------------------------------------------------------- Ångström-Reyes: AP-5R8KC2WH


def reyes(scratch):
    from making import paper, pictures

    case = Case("AP-5R8KC2WH")
    member, provider = case.member, case.provider
    story = paper.letter_story(
        "September 28, 2026",
        ["Appeals", *world.PLAN_ADDRESS[1:]],
        [("RE", "First-level appeal of a denied claim"), *paper.about(case)],
        [
            "This is an appeal on behalf of Ms. Zoë Ångström-Reyes, with her written consent, against the denial of four infusions given "
            "between 07/06/2026 and 07/27/2026. The explanation of benefits gives as its reason that the drug was “not on the plan’s list for "
            "this diagnosis”. We ask that the decision be reversed for three reasons.",
            "# 1. The diagnosis on file is not the diagnosis treated",
            "The claim was matched to an older diagnosis of ulcerative colitis. Since the endoscopy of 04/22/2026 the diagnosis is Crohn’s "
            "disease of the small and large bowel (ICD-10 K50.80). The report is enclosed. For that diagnosis the drug is on the list.",
            "# 2. Two preferred drugs have failed",
            "Adalimumab was given from 09/2024 to 06/2025 and lost its effect with antibodies present; ustekinumab from 08/2025 to 03/2026 "
            "never brought remission. Steroid courses were needed in October, January and March.",
            "# 3. The treatment works",
            "Calprotectin fell from 1,840 to 212 µg/g after three infusions, weight rose by 4.2 kg, and she has gone back to teaching full time.",
            "An interruption now would risk the formation of antibodies and the loss of one more drug. We therefore also ask for an answer "
            "before the next infusion is due on 10/19/2026.",
            "# What is enclosed",
            "The endoscopy and pathology reports; the medication history with dates and levels; laboratory values from 2024 on; the written "
            "consent of the member; our telephone log; the dictation in which the earlier diagnosis is withdrawn.",
            "# What we ask for",
            "A review by a physician who practises gastroenterology and had no part in the first decision; copies of the documents and "
            "criteria it was based on, free of charge; and an answer in writing to the member and to us. Should the denial stand, we ask to be "
            "told how to request a review by an independent organization.",
        ],
        provider,
    )
    paper.build(OUT / "reyes-appeal-letter.pdf", provider.practice, story, "First-level appeal")

    talk = random.Random("telephone log")
    lines = [
        f"{provider.practice.name} — telephone log",
        f"Patient: {member.name}   Member ID: {member.id}   Date of birth: {us(member.born)}",
        f"Appeal case number: {case.number}   Claim number: {case.claim}",
        f"Printed 2026-09-28 by the front desk. Times are local. Temperatures in °C.",
        "=" * 78,
        "",
    ]
    who = ["patient", "patient’s husband", f"{world.PLAN}, claims", f"{world.PLAN}, appeals", "pharmacy", "laboratory"]
    what = [
        "asked whether the infusion of the coming week is covered; told that the claim is under appeal.",
        "reports loose stools four times a day, no blood, temperature 37.4 °C. Nurse advised fluids; to call again above 38 °C.",
        "says the letter of 12 August names the wrong diagnosis. Asked to send the endoscopy report — done the same day.",
        "calprotectin 212 µg/g (was 1 840 µg/g). Dr Kowalczyk informed.",
        "confirms that the drug was delivered cold, 4 °C, lot checked by two persons.",
        "left a message; called back at 16:10, no answer. Second try tomorrow.",
        "“When will somebody decide?” — given the plan’s number for appeals and our reference.",
        "reference of the call noted; the appeal shows as received, a reviewer is not named yet.",
        "weight 58,4 kg by the home scale; eats normally again; café au lait tolerated.",
        "asks for a copy of her records for Señora Ibáñez, her social worker; form sent.",
        "naïve to biosimilars? No: see medication list. Façade of the pre-printed form corrected.",
        "appointment moved from 13:30 to 15:00; transport by the brother (Jürgen).",
    ]
    for at in range(120):
        day, month = at % 28 + 1, 5 + at // 28
        lines.append(f"2026-{month:02}-{day:02} {talk.randrange(8, 18):02}:{talk.randrange(60):02}  {talk.choice(who)}:")
        lines.append(f"    {talk.choice(what)}")
        if talk.random() < 0.3:
            lines.append(f"    Follow-up by {talk.choice(['M. Dürr', 'A. Núñez', 'T. Kowalczyk', 'P. O’Hara'])} ✓")
        lines.append("")
    lines.append("End of log.")
    (OUT / "reyes-telephone-log.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    dictation = (
        f"DICTATION – {provider.name}\r\nRe: {member.name}, Member ID {member.id}, DOB {us(member.born)}\r\nAppeal {case.number}\r\n\r\n"
        "Endoscopy of April 22: “skip lesions” of the terminal ileum and the transverse colon, granulomas in two of five biopsies – this is "
        "Crohn’s disease, not colitis. The patient’s earlier label was mine and I withdraw it.\r\n\r\n"
        "Cost of the drug to the family so far: £0, €0, $1,912.50 – paid by card on July 27.\r\n\r\n"
        "Read and signed – T. Kowalczyk\r\n"
    )
    (OUT / "reyes-dictation.txt").write_bytes(dictation.encode("cp1252"))

    story = paper.letter_story(
        "September 24, 2026", ["Appeals"], paper.about(case, only={"Case number", "Member", "Member ID"}),
        ["I, the member named above, ask Bayberry Infusion Services to file an appeal for me and to receive letters about it.",
         "I know that I can take this consent back at any time by writing to the plan.", "I have gone back to work because of this "
         "treatment. My pupils would like to keep their teacher, and I would like to keep my health."],
        provider, closing="Witnessed by",
    )
    paper.build(scratch / "statement.pdf", provider.practice, story, "Consent to appeal")
    pictures.photo(pictures.pages(scratch / "statement.pdf", 130)[0], OUT / "reyes-consent-photo.jpg", 61, orientation=6, quality=55)
    pictures.screen(
        OUT / "reyes-claim-status.png",
        f"Claim {case.claim}",
        ["Patients", "Claims", "Precerts", "Messages"],
        [("Member", member.name), ("Member ID", member.id), ("Provider", provider.name), ("Tax ID", provider.practice.tin_hyphenated),
         ("Date of service", span(case)), ("Status", "Denied"), ("Processed", "08/12/2026"), ("Appeal case", case.number)],
        ["Line", "Service code", "Billed", "Allowed", "Paid"],
        [["1", "SV-7310", "$2,940.00", "$0.00", "$0.00"], ["2", "SV-7310", "$2,940.00", "$0.00", "$0.00"], ["3", "SV-7310", "$2,940.00", "$0.00", "$0.00"],
         ["4", "SV-7310", "$2,940.00", "$0.00", "$0.00"], ["5", "SV-0904", "$212.00", "$164.10", "$131.28"]],
        "This claim was denied: drug not on the list for the diagnosis reported.",
    )


# -------------------------------------------------------------------------- Vasquez-Holt: AP-9M3QD6TY, and a failed request


def vasquez():
    import pikepdf
    from making import office, paper

    case = Case("AP-9M3QD6TY")
    member, provider = case.member, case.provider
    office.word(
        OUT / "vasquez-peer-to-peer-request.docx",
        provider.practice,
        "Request for a peer-to-peer conversation",
        "November 5, 2026",
        paper.about(case),
        [
            "To the medical director:",
            "I ask for a conversation within the 48 hours that follow the denial of continued infusion therapy for Mrs. Vasquez-Holt.",
            "# Points I would like to discuss",
            "- The denial speaks of “maintenance without documented benefit”. Relapses went from three a year to none since April.",
            "- The interval was stretched to twelve weeks in summer; two relapses in the nine years before began that way.",
            "- The plan approved the same treatment until 09/30/2026 on the same facts.",
            "# When I can be reached",
        ],
        table=[["Day", "Time (Pacific)", "Telephone"], ["Friday, November 6", "12:00 - 13:00", provider.practice.telephone], ["Friday, November 6", "16:30 - 18:00", provider.practice.telephone]],
        sign=provider,
    )
    story = [paper.Paragraph("MEDICAL RECORDS, EXTRACT", paper.TITLE)]
    story += paper.facts(paper.about(case))
    for text in [
        "The raw values of the quality-of-life questionnaire are attached to this file as a table (open the list of attachments in your viewer).",
        "# Relapses", "2023: February, July, November. 2024: March, August, December. 2025: April, October. 2026: March. None since.",
        "# Walking distance", "04/2026: 310 m with a cane. 07/2026: 620 m with a cane. 10/2026: 1,150 m without.",
        "# Tolerance", "Twenty-two infusions, one with flushing (03/2026, slowed and completed). Liver values and immunoglobulins in range.",
    ]:
        story.append(paper.Paragraph(text[2:], paper.HEAD) if text.startswith("# ") else paper.Paragraph(text, paper.BODY))
    target = OUT / "vasquez-records-extract.pdf"
    paper.build(target, provider.practice, story, "Records extract")
    with pikepdf.open(target, allow_overwriting_input=True) as pdf:
        rows = "\n".join(["date,questionnaire,score"] + [f"2026-{month:02}-15,quality of life,{score}" for month, score in zip(range(3, 11), [38, 41, 47, 52, 55, 61, 64, 66])]) + "\n"
        pdf.attachments["questionnaire.csv"] = pikepdf.AttachedFileSpec(
            pdf, rows.encode(), filename="questionnaire.csv", mime_type="text/csv", description="Quality of life, monthly",
            creation_date="D:20261105090000Z", mod_date="D:20261105090000Z")
        pdf.save(target, deterministic_id=True)

    office.workbook(
        OUT / "vasquez-infusion-log.xlsx",
        provider.practice.name,
        dict(
            title="Infusions", colour=provider.practice.colour, heading="Infusion log", pairs=[(label, value) for label, value in paper.about(case) if label != "Date of service"],
            head=["Date", "Dose (mg)", "Minutes", "Before BP", "After BP", "Nurse", "Reaction"],
            lines=[[f"2026-{month:02}-{day:02}", 300, minutes, before, after, nurse, note] for month, day, minutes, before, after, nurse, note in [
                (4, 6, 62, "118/74", "121/76", "LM", "none"), (5, 4, 60, "116/70", "119/75", "LM", "none"), (6, 1, 61, "122/78", "120/77", "RB", "none"),
                (6, 29, 60, "117/73", "118/72", "LM", "none"), (7, 27, 75, "119/75", "115/70", "RB", "headache, mild"), (8, 24, 60, "121/74", "122/76", "LM", "none"),
                (9, 21, 60, "118/72", "119/74", "RB", "none")]],
            widths=[26, 16, 12, 14, 14, 10, 20],
        ),
    )
    office.old_word(
        OUT / "vasquez-neurology-consult.doc",
        practice=provider.practice,
        title="Neurology consultation",
        date="October 22, 2026",
        pairs=[("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Case number", case.number)],
        paragraphs=[
            "# Question", "Can the treatment be stopped or the interval be made longer without risk of a relapse?",
            "# Examination", "Walks freely, tandem gait with two errors. Reflexes brisker on the left. Vision 20/20 on both sides, colour vision full.",
            "# Imaging", "10/15/2026: no new lesion against 10/2025, none that takes up contrast.",
            "# Answer", "No. The disease is quiet because it is treated. Of patients in her position about four in ten relapse within a year of stopping. "
            "I advise to go on at four weeks, and to talk about longer intervals after two quiet years.",
        ],
        sign=provider,
    )

    claim = Claim("CL2692740386")
    story = paper.letter_story(
        "September 22, 2026", world.PLAN_ADDRESS, [("RE", "Request for reconsideration"), *paper.about(claim=claim)],
        ["The claim named above was denied for a missing authorization. An authorization was on file from 04/01/2026 to 09/30/2026 and covers "
         "the date of service. Please see the approval letter of 03/25/2026 and process the claim.",
         "The infusion of 08/10/2026 was an extra one of 150 mg, ordered after a fever had made the July dose incomplete."],
        claim.provider,
    )
    paper.build(OUT / "vasquez-authorization-on-file.pdf", claim.provider.practice, story, "Request for reconsideration")
    text = [f"MEDICATION HISTORY", f"Patient: {member.name}", f"Member ID: {member.id}", f"Claim number: {claim.number}", f"Date of service: {us(claim.start)}", f"NPI: {claim.provider.npi}", ""]
    text += [f"{when}  {drug}" for when, drug in [("2017-03", "interferon, stopped for fever"), ("2019-01", "glatiramer, stopped: relapses"), ("2021-06", "dimethyl fumarate, stopped: lymphocytes 0.4"),
                                                 ("2024-01", "natalizumab 300 mg every 4 weeks"), ("2026-08", "natalizumab 150 mg once, extra dose")]]
    (OUT / "vasquez-medication-history.txt").write_text("\n".join(text) + "\n", encoding="ascii")


# ----------------------------------------------------------------------------- Lindqvist: three cases, two for one claim


def lindqvist(scratch):
    import io

    import pikepdf
    from making import office, paper, pictures

    case = Case("RC-5T7CJ2MY")
    member, provider = case.member, case.provider
    office.word(
        OUT / "lindqvist-therapy-plan.docx",
        provider.practice,
        "Plan of care, physical therapy",
        "June 1, 2026",
        paper.about(case),
        [
            "# Diagnosis and history",
            "Stiffness and weakness after replacement of the left hip on 04/14/2026. 77-year-old man who lives alone on the second floor "
            "and wants to manage the stairs with his shopping again.",
            "# Findings at the start", "Gait with a walker, 40 m. Timed up-and-go 31 seconds. Hip abduction 2+ out of 5. Pain 5 out of 10 at night.",
            "# Goals",
            "- Stairs, 18 steps, with one rail, in four weeks",
            "- Timed up-and-go below 14 seconds in four weeks",
            "- No walking aid indoors in three weeks",
            "# Treatment", "Three visits a week for four weeks: strengthening, gait and stair training, balance, home programme.",
        ],
        table=[["Measure", "06/01", "06/15", "06/30", "Goal"], ["Up-and-go (s)", 31, 19, 12, 14], ["Walk, 6 min (m)", 118, 240, 365, 300], ["Abduction (0-5)", "2+", "3+", "4", "4"]],
        sign=provider,
    )
    visits = [[f"2026-06-{day:02}", units, minutes, goal, 78.00 * units] for day, units, minutes, goal in [
        (1, 4, 60, "evaluation"), (3, 3, 45, "strength"), (5, 3, 45, "gait"), (8, 3, 45, "gait"), (10, 3, 45, "balance"), (12, 3, 45, "stairs"),
        (15, 4, 60, "re-evaluation"), (17, 3, 45, "stairs"), (19, 3, 45, "stairs"), (22, 3, 45, "balance"), (24, 3, 45, "strength"), (30, 3, 45, "discharge")]]
    office.workbook(
        OUT / "lindqvist-therapy-visits.xlsx", provider.practice.name,
        dict(title="Visits", colour=provider.practice.colour, heading="Visits billed under the claim", pairs=paper.about(case),
             head=["Date", "Units", "Minutes", "Aim", "Billed (USD)"], lines=visits + [["Total", sum(v[1] for v in visits), sum(v[2] for v in visits), "", sum(v[4] for v in visits)]],
             widths=[26, 20, 12, 20, 14], money=(4,)),
    )
    story = [paper.Paragraph("PROGRESS NOTE", paper.TITLE)]
    story += paper.facts([*paper.about(case, only={"Case number", "Member", "Member ID", "Date of birth", "NPI"}), ("Visit", "06/15/2026")])
    for text in ["S: sleeps through, no pain at rest. Went down to the letter box alone yesterday.",
                 "O: walker left at the door, cane on the right. Up-and-go 19 s. Eighteen steps with both rails, two rests. Incision dry.",
                 "A: two of four goals in reach. Abduction is what limits the stairs.", "P: go on three times a week; resistance band to green; stairs each visit."]:
        story.append(paper.Paragraph(text, paper.BODY))
    story += [paper.Signature("progress"), paper.Paragraph(provider.name, paper.BODY)]
    paper.build(scratch / "progress.pdf", provider.practice, story, "Progress note")
    picture = pictures.scanned(pictures.pages(scratch / "progress.pdf", 130)[0], 71, 0.9)
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=50)
    with pikepdf.new() as pdf:
        # A scanner's page: one JPEG, no text at all.
        image = pdf.make_stream(held.getvalue(), Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image, Width=picture.width, Height=picture.height,
                                ColorSpace=pikepdf.Name.DeviceGray, BitsPerComponent=8, Filter=pikepdf.Name.DCTDecode)
        pdf.add_blank_page(page_size=(612, 792))
        pdf.pages[0].Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Scan=image))
        pdf.pages[0].Contents = pdf.make_stream(b"q 612 0 0 792 0 0 cm /Scan Do Q")
        pdf.docinfo["/Producer"] = "Desk scanner"
        pdf.save(OUT / "lindqvist-progress-note-scan.pdf", deterministic_id=True)
    colour = pictures.Image.merge("RGB", [picture, picture.point(lambda v: v * 250 // 255), picture.point(lambda v: v * 236 // 255)]).resize((663, 858))
    pictures.tiff(OUT / "lindqvist-progress-note-color.tiff", [colour.quantize(32).convert("RGB")], "tiff_lzw", (78, 78))

    claim = Claim("CL2617853690")
    member, provider = claim.member, claim.provider
    plan = Practice("fairmeadow")
    plan.name, plan.street, plan.town, plan.telephone, plan.colour = world.PLAN, "P.O. Box 1200", "Port Ellery, OR 00417", "503-555-0199", "#173f5f"
    story = [paper.Paragraph("EXPLANATION OF BENEFITS", paper.TITLE), paper.Paragraph("<b>This is not a bill.</b> Copy sent by the provider.", paper.PLAIN)]
    story += paper.facts([*paper.about(claim=claim), ("Account", member.account), ("Processed", us(claim.processed))])
    story += paper.grid(
        ["Dates of service", "Service", "Billed", "Allowed", "Not covered", "Remark", "Paid"],
        [["04/13 - 04/17/2026", "Room and board, 4 days", "9,640.00", "0.00", "9,640.00", "R12", "0.00"], ["04/14/2026", "Operating room", "14,210.00", "0.00", "14,210.00", "R12", "0.00"],
         ["04/14/2026", "Implant, hip", "8,875.00", "0.00", "8,875.00", "R12", "0.00"], ["04/13/2026", "Laboratory", "412.60", "0.00", "412.60", "R12", "0.00"],
         ["04/15/2026", "Physical therapy, inpatient", "536.00", "0.00", "536.00", "R12", "0.00"], ["", "<b>Total</b>", "<b>33,673.60</b>", "<b>0.00</b>", "<b>33,673.60</b>", "", "<b>0.00</b>"]],
        [88, 116, 58, 50, 62, 46, 46], "#173f5f", right=(2, 3, 4, 6),
    )
    for text in ["R12  The information we received does not show that an inpatient stay was necessary. Outpatient surgery may have been covered.",
                 "<b>Your right to appeal.</b> You or your provider can ask us in writing to look at this decision again within 180 days of this notice. "
                 "Send your reasons and any records to the address above and name the claim number. You can ask for the documents we used, free of charge.",
                 "<b>What you may owe the provider: $0.00</b> while the claim is under review."]:
        story.append(paper.Paragraph(text, paper.PLAIN))
    paper.build(OUT / "lindqvist-eob-copy.pdf", plan, story, "Explanation of benefits (copy)", "Keep this notice with your records.")


# ------------------------------------------------------------------------------------- Nakamura: a claim without a case


def nakamura(scratch):
    from making import office, paper, pictures

    claim = Claim("CL2683604951")
    member, provider = claim.member, claim.provider
    logo = scratch / "leaf.png"
    pictures.leaf(logo, provider.practice.colour)
    office.word(
        OUT / "nakamura-reconsideration-letter.docx",
        provider.practice,
        "Request for reconsideration of a claim",
        "September 30, 2026",
        paper.about(claim=claim),
        [
            "Dear claims team,",
            "the claim above was denied as a second visit on the same day. There was one visit. It was sent twice because our clearing house "
            "did not acknowledge the first transmission; the second one (same visit, same charges) was rightly set aside as a duplicate.",
            "We ask you to reopen the first one and to process it. The visit note and a screenshot of the claim's status are enclosed.",
        ],
        logo=logo,
        table=[["Sent", "Acknowledged", "Outcome"], ["08/20/2026 18:02", "no", "denied 09/10/2026"], ["08/27/2026 09:15", "yes", "duplicate 09/18/2026"]],
        sign=provider,
    )
    story = [paper.Paragraph("OFFICE VISIT", paper.TITLE)]
    story += paper.facts([("Patient", member.name), ("Member ID", member.id), ("DOB", us(member.born)), ("Date of service", us(claim.start)), ("Provider", f"{provider.name}  NPI {provider.npi}")])
    for text in ["# Complaint", "Cough for three weeks, worse at night and on the running track. No fever.",
                 "# Findings", "Saturation 97 per cent at rest, 93 after two flights of stairs. Wheeze on both sides when breathing out by force. Peak flow 380 L/min (predicted 590), 510 after a bronchodilator.",
                 "# Assessment", "Exercise-induced asthma (ICD-10 J45.990), newly found.", "# Plan",
                 "Inhaled steroid with formoterol before exercise and as needed; technique shown and shown back. Spirometry in six weeks. Return at once if short of breath at rest."]:
        story.append(paper.Paragraph(text[2:], paper.HEAD) if text.startswith("# ") else paper.Paragraph(text, paper.BODY))
    story += [paper.Signature("visit"), paper.Paragraph(f"{provider.name}, 08/19/2026 11:20", paper.SMALL)]
    paper.build(OUT / "nakamura-office-visit.pdf", provider.practice, story, "Office visit")
    pictures.screen(
        OUT / "nakamura-claim-status.png", f"Claim {claim.number}", ["Patients", "Claims", "Precerts", "Messages"],
        [("Member", member.name), ("Member ID", member.id), ("Provider", provider.name), ("Tax ID", provider.practice.tin_hyphenated), ("Date of service", us(claim.start)), ("Status", claim.status),
         ("Processed", us(claim.processed)), ("Account", member.account)],
        ["Line", "Service code", "Billed", "Allowed", "Paid"], [["1", "SV-0214", "$168.00", "$0.00", "$0.00"], ["2", "SV-0460", "$74.00", "$0.00", "$0.00"]],
        "This claim was denied: a visit on the same day is already on file.",
    )
    export = [f"CHART EXPORT\tv4.2", f"PATIENT\t{member.last}^{member.first}", f"MEMBER ID\t{member.id}", f"DATE OF BIRTH\t{us(member.born)}", f"CLAIM NUMBER\t{claim.number}",
              f"DATE OF SERVICE\t{us(claim.start)}", f"NPI\t{provider.npi}", f"TIN\t{provider.practice.tin}", "", "TIME\tITEM\tVALUE"]
    export += [f"{time}\t{item}\t{value}" for time, item, value in [("10:41", "Temperature", "36.8 °C"), ("10:41", "Pulse", "72"), ("10:42", "Saturation, rest", "97 %"), ("10:58", "Peak flow", "380 L/min"),
                                                                   ("11:03", "Salbutamol", "2 puffs"), ("11:18", "Peak flow", "510 L/min")]]
    (OUT / "nakamura-chart-export.txt").write_bytes(b"\xff\xfe" + "\r\n".join(export + [""]).encode("utf-16-le"))
    note = pictures.handwriting(
        ["Nurse note 8/19/26 10:40", f"{member.name} {member.born[5:7]}/{member.born[8:]}/{member.born[2:4]}", f"ID {member.id}", "cough 3 wks, worse w/ running", "sat 97 rest - 93 after stairs", "PF 380 / 510 post neb",
         "inhaler technique shown,", "pt did it back correctly", "f/u 6 wks spirometry", "", f"claim {claim.number}", "J. Abbott RN"], 81)
    pictures.photo(note, OUT / "nakamura-nurse-note.jpeg", 82, quality=50, size=(960, 1280), tint=(250, 247, 225), desk=(120, 124, 128))


# ----------------------------------------------------------------------------------------- O'Dwyer: a claim without a case


def odwyer():
    from making import office, paper

    claim = Claim("CL2618395240")
    member, provider = claim.member, claim.provider
    story = [paper.Paragraph("PATHOLOGY REPORT", paper.TITLE)]
    story += paper.facts([("Patient", member.name), ("Member ID", member.id), ("Date of birth", us(member.born)), ("Specimen taken", us(claim.start)), ("Claim number", claim.number), ("Ordered by", f"{provider.name}  NPI {provider.npi}")])
    for text in ["# Specimens", "A: skin, left temple, shave. B: skin, upper back, excision, 14 by 9 by 5 mm, marked at 12 o'clock.",
                 "# Microscopy", "A: nests of basaloid cells with palisading and retraction, reaching the deep edge. B: atypical melanocytes along the junction with spread to the upper layers, no invasion; free margin 2.1 mm.",
                 "# Diagnosis", "A: nodular basal cell carcinoma, deep margin involved (ICD-10 C44.319). B: melanoma in situ, margins free (ICD-10 D03.59).",
                 "# Comment", "The finding in B could not have been made without removing the whole lesion; a partial sample would have missed it."]:
        story.append(paper.Paragraph(text[2:], paper.HEAD) if text.startswith("# ") else paper.Paragraph(text, paper.BODY))
    story.append(paper.Signature("path"))
    paper.build(OUT / "odwyer-pathology-report.pdf", provider.practice, story, "Pathology report")
    office.word(
        OUT / "odwyer-dermatology-note.docx", provider.practice, "Dermatology visit note", "September 2, 2026", paper.about(claim=claim),
        ["# Skin examination", "61 lesions mapped. Two stand out: a pearly nodule of 6 mm at the left temple with small vessels, and an irregular brown patch of 9 mm on the upper back, changed against the photographs of March.",
         "# Done", "- Temple: shaved under local anaesthesia", "- Back: removed with a margin of 2 mm, closed in two layers", "# Why on one day",
         "The patient lives two hours away and has no car. Both were suspicious, neither could wait for twelve weeks."],
        sign=provider,
    )
    office.old_workbook(
        OUT / "odwyer-patient-ledger.xls", "Ledger", "Patient ledger",
        [("Patient", member.name), ("Member ID", member.id), ("Claim number", claim.number), ("TIN", provider.practice.tin_hyphenated)],
        ["Date", "Entry", "Charge", "Payment", "Balance"],
        [["09/02/2026", "Visit and shave, left temple", 385.00, 0.00, 385.00], ["09/02/2026", "Excision, upper back", 640.00, 0.00, 1025.00], ["09/02/2026", "Copayment, card", 0.00, 40.00, 985.00],
         ["09/24/2026", "Plan: denied", 0.00, 0.00, 985.00]],
        [14, 40, 12, 12, 12], money=(2, 3, 4),
    )
    text = (f"Portal message, 2026-10-02\n\nFrom: {member.name} ({member.id})\nTo: Alder Street Dermatology\n\nHi, I got the letter that claim {claim.number} is denied. My birth date is "
            f"{us(member.born)} in case you need it. Nobody told me the biopsy on the back would be “cosmetic” – it was a melanoma! Please send it in again.\n\nThanks, Bernadette\n")
    (OUT / "odwyer-portal-message.txt").write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))


# ------------------------------------------------------------------------------------------- What a person must look at


def doubtful():
    from making import office, paper

    right, wrong = Case("RC-7K4M9TX2"), Claim("CL2646072835")
    office.word(
        OUT / "mixed-up-cover-letter.docx", wrong.provider.practice, "Cover letter", "November 10, 2026",
        [("Case number", right.number), ("Member", wrong.member.name), ("Member ID", wrong.member.id), ("Date of birth", us(wrong.member.born)),
         ("Date of service", us(wrong.start)), ("TIN", wrong.provider.practice.tin_hyphenated)],
        ["Please add the enclosed photographs to the reconsideration named above.", "The case number was copied from a note on the desk; please tell us if it is not right."],
        sign=wrong.provider,
    )
    office_of = Practice("harbor")
    office_of.name, office_of.street, office_of.telephone, office_of.colour = "Gullwing Billing Bureau", "5 Customs House Lane", "503-555-0191", "#3d4a57"
    listed = [Claim(number) for number in ("CL2638150472", "CL2617853690", "CL2650279183", "CL2607469523", "CL2675208164", "CL2669150847")]
    story = [paper.Paragraph("CLAIMS SENT FOR RECONSIDERATION, OCTOBER 2026", paper.TITLE), paper.Paragraph("Please look at all of these again. Records will follow.", paper.BODY)]
    story += paper.grid(["Claim number", "Member ID", "Member", "Date of service", "NPI", "Status"],
                        [[c.number, c.member.id, c.member.name, span(c), c.provider.npi, c.status] for c in listed], [82, 72, 96, 118, 64, 54], office_of.colour)
    paper.build(OUT / "billing-bureau-claim-list.pdf", office_of, story, "Claims sent for reconsideration")

    numbers = ["CL2605927416", "CL2643781290", "CL2675208164", "CL2631967509", "CL2694318027", "CL2687035412", "CL2618395240"]
    office.workbook(
        OUT / "remittance-table.xlsx", "Gullwing Billing Bureau",
        dict(title="Remittance", colour="#3d4a57", heading="Remittance 2026-09, lines in question", pairs=[("Payer", world.PLAN), ("Printed", "10/05/2026")],
             head=["Claim number", "Member ID", "Patient", "Service from", "Service to", "Status", "TIN", "Billed", "Paid"],
             lines=[[c.number, c.member.id, f"{c.member.last}, {c.member.first}", us(c.start), us(c.end), c.status, c.provider.practice.tin_hyphenated, 410.0 + 135.5 * at, 0.0 if c.status == "Denied" else 300.0 + 90.25 * at]
                    for at, c in enumerate(map(Claim, numbers))],
             widths=[18, 14, 26, 14, 14, 12, 14, 12, 12], money=(7, 8)),
    )
    claim = Claim("CL2643781290")
    story = paper.letter_story(
        "October 6, 2026", world.PLAN_ADDRESS, [("RE", "Biopsy photographs"), *paper.about(claim=claim)],
        ["Enclosed is the description of the photographs taken at the visit. Both our office and the patient have written to you about this claim; "
         "we don't know under which number each of them is kept."], claim.provider)
    paper.build(OUT / "brookhurst-biopsy-letter.pdf", claim.provider.practice, story, "Biopsy photographs")


# ------------------------------------------------------------------------------------------------- What belongs nowhere


def unknown(scratch):
    from making import paper, pictures

    other = Practice("linden")
    other.name, other.street, other.town, other.telephone, other.colour = "Windlass Bay Eye Clinic", "12 Capstan Street", "Windlass Bay, OR 00468", "503-555-0195", "#5b3b8c"
    story = [paper.Paragraph("November 12, 2026", paper.BODY), paper.Paragraph("To the specialist on duty", paper.BODY)]
    story += paper.facts([("Patient", "Perpetua Marchbanks"), ("Date of birth", "10/17/1938"), ("Insurance", "Northlight Mutual, policy 77-2041")])
    for text in ["Thank you for seeing Mrs. Marchbanks, whose cataract on the right has matured over the summer.",
                 "Vision is 20/200 on the right and 20/40 on the left. Pressure 14 on both sides. The fundus can't be seen on the right; ultrasound is flat.",
                 "She takes a blood thinner and is hard of hearing. Her daughter comes along."]:
        story.append(paper.Paragraph(text, paper.BODY))
    story += [paper.Signature("eye"), paper.Paragraph("Dr. P. Inchbald", paper.BODY)]
    paper.build(OUT / "unknown-referral.pdf", other, story, "Referral")
    # Begins with the letters by which a bitmap begins; it is a text all the same.
    text = ("BM aspirate and trephine, reported 10/30/2026\n\nPatient: see request form (not attached).\nCellularity 40 %. Trilineage maturation. Blasts 2 %. Iron stores absent.\n"
            "No infiltrate. Karyotype to follow.\n\nConclusion: iron deficiency, otherwise a normal marrow for age.\n")
    (OUT / "bone-marrow-report.txt").write_text(text, encoding="ascii")
    story = [paper.Paragraph("PLEASE CALL BACK", paper.TITLE), paper.Paragraph("Concerning the patient we talked about on Tuesday. The report is four pages long, the machine took one.", paper.BODY), paper.Signature("torn")]
    paper.build(scratch / "torn.pdf", other, story, "Fax")
    page = pictures.pages(scratch / "torn.pdf", 204)[0]
    frames = [pictures.squeeze(pictures.fax(page, 91, "11/18/2026 19:40  (NO ID)                              P. 02/04", 1.6, specks=260))]
    pictures.tiff(OUT / "unknown-torn-fax.tif", frames, "group3", (204, 98))


# ---------------------------------------------------------------------------------------------------------------- check


def check():
    """Scenarios, README and files agree, and nothing is too big."""
    problems = []
    files = {file.name: file.stat().st_size for file in OUT.iterdir()}
    scenarios = tomllib.loads((HERE / "scenarios.toml").read_text(encoding="utf-8"))["submission"]
    used = set()
    for scenario in scenarios:
        name = scenario["name"]
        problems += [f"{name}: more than ten files"] if len(scenario["files"]) > 10 else []
        said = scenario.get("said", {})
        for key, known in (("claim", world.CLAIMS), ("case", world.CASES), ("member", {m[0] for m in world.MEMBERS.values()}), ("tin", {p[0] for p in world.PRACTICES.values()}),
                           ("attachment_control_number", {c[4] for c in world.CASES.values()})):
            if key in said and said[key] not in known:
                problems.append(f"{name}: unknown {key} {said[key]}")
        for file in scenario["files"]:
            if "name" in file and "made" not in file:
                used.add(file["name"])
                if file["name"] not in files:
                    problems.append(f"{name}: no file {file['name']}")
            if file.get("case", "opened") not in {"opened", *world.CASES}:
                problems.append(f"{name}: unknown case {file['case']}")
            if (file["expect"] == "matched") != ("case" in file):
                problems.append(f"{name}: {file} must tell its case if and only if it is matched")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    for file, size in files.items():
        problems += [f"{file} is in no scenario"] if file not in used else []
        problems += [f"{file} is not in README.md"] if f"`{file}`" not in readme else []
        problems += [f"{file} has {size} bytes"] if size >= 400_000 else []
    if sum(files.values()) >= 5_000_000:
        problems.append("all files together are too big")
    print("\n".join(problems) or f"{len(files)} files, {sum(files.values()) // 1024} KiB, {len(scenarios)} submissions: all agree")
    return 1 if problems else 0


def main():
    import tempfile

    if "--check" in sys.argv:
        sys.exit(check())
    for place in (OUT, HERE / "reference"):
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
    world.write(HERE / "reference")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        whitcombe()
        okonjo(scratch)
        venkataraman(scratch)
        quintero(scratch)
        reyes(scratch)
        vasquez()
        lindqvist(scratch)
        nakamura(scratch)
        odwyer()
        doubtful()
        unknown(scratch)
    for file in sorted(OUT.iterdir()):
        print(f"{file.stat().st_size:8} {file.name}")


if __name__ == "__main__":
    main()
