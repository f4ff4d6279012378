//! Clients that misbehave, byte by byte: what each is answered, and that nothing half-made is left behind.

use lettercase::http::plan::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::journey::count;
use crate::support::{World, scanner};

/// A connection.
struct Line(TcpStream);

/// What came as an answer; a connection closed without one has the status 0.
#[derive(Debug)]
struct Heard {
    status: u16,
    head: String,
    body: String,
}

impl Heard {
    /// The status, with a problem's code.
    fn told(&self) -> (u16, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        (self.status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Line {
    async fn to(server: &Server) -> Self {
        Self(TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap())
    }

    /// Writes as much as the server reads: one that has answered already need not read all.
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// The next answer.
    async fn hear(&mut self) -> Heard {
        tokio::time::timeout(Duration::from_secs(20), self.read()).await.unwrap()
    }

    async fn read(&mut self) -> Heard {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.and_then(|n| n.parse().ok()).unwrap_or_default();
                if body.len() >= length {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Heard { status, head: head.to_owned(), body: body.to_owned() };
                }
            }
            // byte by byte: what follows is the next answer's
            match self.0.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => return Heard { status: 0, head: String::new(), body: text },
            }
        }
    }
}

/// A request up to its body; `more` are whole lines.
fn head(server: &Server, request: &str, more: &str) -> String {
    let host = server.base.trim_start_matches("http://");
    format!("{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n{more}\r\n", server.key)
}

/// A request whose Content-Length is right.
fn whole(server: &Server, request: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("{more}Content-Length: {}\r\n", body.len());
    [head(server, request, &length).as_bytes(), body].concat()
}

async fn ask(server: &Server, bytes: impl AsRef<[u8]>) -> Heard {
    let mut line = Line::to(server).await;
    line.say(bytes).await;
    line.hear().await
}

/// Asserts that nothing is half-made and the server answers.
async fn clean(world: &World, app: &App, server: &Server, after: &str) {
    let receiving = "SELECT COUNT(*) AS n FROM document WHERE state = 'receiving'";
    // what was taken lies in the spool until the first stage has read it
    let taken = "SELECT COUNT(*) AS n FROM document WHERE accepted_at IS NOT NULL";
    tokio::time::timeout(Duration::from_secs(20), async {
        while count(world, receiving).await > 0
            || std::fs::read_dir(app.intake.spool.dir()).unwrap().count() > count(world, taken).await
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{after}: something half-made is left"));
    assert_eq!(server.get("/health").await.0, 200, "{after}");
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=b\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// One part with these words behind `form-data; name="f"` in its head.
fn part(words: &[u8], body: &[u8]) -> Vec<u8> {
    let head = b"--b\r\nContent-Disposition: form-data; name=\"f\"";
    [head, words, b"\r\n\r\n", body, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--b--\r\n".to_vec()].concat()
}

on_both! {
    async fn int_30_of_a_client_that_goes_in_the_middle_nothing_is_left(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let put = |name: &str| format!("PUT /v1/submissions/{id}/files/{name}");
        let files = format!("POST /v1/submissions/{id}/files");
        let torn = part(b"; filename=\"c.txt\"", b"half of it");
        let asked = part(b"", b"").len();
        let intake = [
            b"--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"kind\":\"appeal\"}\r\n".as_slice(), &torn,
        ].concat();
        let json = "Content-Type: application/json\r\nContent-Length: 100\r\n";
        let long = |more: &str| format!("{more}Content-Length: 1000\r\n");
        let rows: Vec<(&str, Vec<u8>, usize)> = vec![
            ("a raw body", [head(&server, &put("a.txt"), &long("")).as_bytes(), b"half"].concat(), 1),
            ("a chunked body", [head(&server, &put("b.txt"), CHUNKED).as_bytes(), b"4\r\nhalf\r\n"].concat(), 1),
            ("a part", [head(&server, &files, &long(FORM)).as_bytes(), &torn].concat(), 1),
            ("a part's head", [head(&server, &files, &long(FORM)).as_bytes(), &torn[..asked - 10]].concat(), 0),
            ("a call", [head(&server, "POST /v1/intake", &long(FORM)).as_bytes(), &intake].concat(), 1),
            ("JSON", [head(&server, "POST /v1/submissions", json).as_bytes(), b"{\"kind\""].concat(), 0),
            ("a load", [
                head(&server, "POST /v1/reference/tins/load", &long("Content-Type: text/csv\r\n")).as_bytes(), b"tin,na",
            ].concat(), 0),
            ("a head", head(&server, &put("d.txt"), "X-Half: ").into_bytes()[..40].to_vec(), 0),
        ];
        let mut ended = 0;
        for (what, bytes, documents) in rows {
            let mut line = Line::to(&server).await;
            line.say(bytes).await;
            ended += documents;
            if documents > 0 {
                while count(world, "SELECT COUNT(*) AS n FROM document").await < ended {
                    tokio::task::yield_now().await;
                }
            }
            drop(line);
            clean(world, &world.app, &server, what).await;
            assert_eq!(count(world, "SELECT COUNT(*) AS n FROM document WHERE state = 'rejected'").await, ended, "{what}");
        }
        assert_eq!(server.put(&id, "a.txt", b"a page").await.0, 201, "the name is free");
        assert_eq!(count(world, "SELECT COUNT(*) AS n FROM submission").await, 2);
    }
}

on_both! {
    async fn int_30_who_drips_is_not_waited_for(world: &World) {
        let mut small = plan();
        small.receive.grace_s = 1;
        let app = node(world, "small", small, scanner().await).await;
        let server = Server::behind(&app, |doors| {
            doors.limits.header_timeout_s = 1;
            doors.limits.request_timeout_s = 1;
        });
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let put = format!("PUT /v1/submissions/{id}/files/a.txt");
        let files = format!("POST /v1/submissions/{id}/files");
        let long = |more: &str| format!("{more}Content-Length: 100000\r\n");
        let torn = part(b"; filename=\"b.txt\"", b"half");
        let rows = [
            ("a head", b"GET /health HTTP/1.1\r\nHost: a\r\nX-".to_vec(), (0, "")),
            ("a raw body", head(&server, &put, &long("")).into_bytes(), (408, "too_slow")),
            ("a preamble", head(&server, &files, &long(FORM)).into_bytes(), (408, "too_slow")),
            ("a part", [head(&server, &files, &long(FORM)).as_bytes(), &torn].concat(), (408, "too_slow")),
            ("JSON", head(&server, "POST /v1/submissions", &long("")).into_bytes(), (408, "too_slow")),
            ("a load", head(&server, "POST /v1/reference/tins/load", &long("Content-Type: text/csv\r\n")).into_bytes(),
                (408, "too_slow")),
        ];
        for (what, bytes, (status, code)) in rows {
            let mut line = Line::to(&server).await;
            line.say(bytes).await;
            let (mut read, mut write) = line.0.split();
            let mut first = [0; 4096];
            let drip = async {
                // a byte now and then is as good as none
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let _ = write.write_all(b"x").await;
                }
            };
            let heard = tokio::time::timeout(Duration::from_secs(8), async {
                tokio::select! { heard = read.read(&mut first) => heard.unwrap_or(0), () = drip => 0 }
            });
            let length = heard.await.unwrap_or_else(|_| panic!("{what} is waited for"));
            let text = String::from_utf8_lossy(&first[..length]).into_owned();
            if status == 0 {
                assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{what}: {text}");
            } else {
                assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains(code), "{what}: {text}");
            }
            drop(line);
            clean(world, &app, &server, what).await;
        }
    }
}

on_both! {
    async fn int_30_a_body_is_taken_as_it_is_announced_or_not_at_all(world: &World) {
        let mut small = plan();
        small.limits.appeal.file_bytes = 1_000;
        let app = node(world, "small", small, scanner().await).await;
        let server = Server::start(&app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let put = format!("PUT /v1/submissions/{id}/files/a.txt");
        let files = format!("POST /v1/submissions/{id}/files");
        let large = vec![b'x'; 2_000];
        let in_chunks = [b"7d0\r\n".as_slice(), &large, b"\r\n0\r\n\r\n"].concat();
        let metadata = |n: usize| {
            let head = b"--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n";
            whole(&server, "POST /v1/intake", FORM, &[head, vec![b' '; n].as_slice(), b"\r\n--b--\r\n"].concat())
        };
        let json = |n: usize| whole(&server, "POST /v1/submissions", "", &vec![b' '; n]);
        let cut = |body: &[u8]| [head(&server, &put, CHUNKED).as_bytes(), body].concat();
        for (what, bytes, (status, code)) in [
            ("too large by its word", head(&server, &put, "Content-Length: 1001\r\n").into_bytes(), (413, "too_large")),
            ("too large without a word", cut(&in_chunks), (413, "too_large")),
            ("a part too large", whole(&server, &files, FORM, &form(&[part(b"; filename=\"a.txt\"", &large)])), (413, "too_large")),
            ("JSON too large", json(65_537), (413, "body_too_large")),
            ("metadata too large", metadata(65_537), (413, "body_too_large")),
            ("no number", head(&server, &put, "Content-Length: ten\r\n").into_bytes(), (400, "")),
            ("under zero", head(&server, &put, "Content-Length: -1\r\n").into_bytes(), (400, "")),
            ("two lengths", head(&server, &put, "Content-Length: 1\r\nContent-Length: 2\r\n").into_bytes(), (400, "")),
            ("beyond a number", head(&server, &put, "Content-Length: 99999999999999999999999\r\n").into_bytes(), (400, "")),
            ("an unknown encoding", head(&server, &put, "Transfer-Encoding: gzip\r\n").into_bytes(), (400, "")),
            ("no size of a chunk", cut(b"zz\r\nhalf\r\n"), (0, "")),
            ("a chunk's size beyond a number", cut(b"fffffffffffffffff\r\n"), (0, "")),
        ] {
            let heard = ask(&server, bytes).await;
            // a body that breaks HTTP may end the connection before our answer
            let fits = heard.told() == (status, code.to_owned()) || status == 0 && heard.told() == (400, "incomplete".into());
            assert!(fits, "{what}: {heard:?}");
            clean(world, &app, &server, what).await;
        }
        // what follows a body that is shorter by its word is the next request, and none of ours
        let mut line = Line::to(&server).await;
        line.say([head(&server, &put, "Content-Length: 4\r\n").as_bytes(), b"pagesand more of them\r\n\r\n"].concat()).await;
        assert_eq!(line.hear().await.status, 201);
        assert!(matches!(line.hear().await.status, 0 | 400));
        clean(world, &app, &server, "a body longer than its word").await;
        let view = world.view(&id).await;
        assert_eq!(view.documents.iter().filter(|d| d.state == DocumentState::Received).map(|d| d.size_bytes).collect::<Vec<_>>(), [Some(4)]);
    }
}

on_both! {
    async fn int_30_a_form_that_is_not_built_well_is_refused(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let files = format!("POST /v1/submissions/{id}/files");
        let file = |words: &[u8]| form(&[part(words, b"a page")]);
        let good = file(b"; filename=\"a.txt\"");
        let huge = vec![b'x'; 1 << 20];
        let wide = [b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n".to_vec(), b"A: b\r\n".repeat(40),
            b"\r\na page\r\n--b--\r\n".to_vec()].concat();
        let typed = |kind: &str| format!("Content-Type: {kind}\r\n");
        for (what, more, body, (status, code)) in [
            ("no boundary", typed("multipart/form-data"), good.clone(), (400, "bad_multipart")),
            ("no content type", String::new(), good.clone(), (400, "bad_multipart")),
            ("another type", typed("multipart/mixed; boundary=b"), good.clone(), (400, "bad_multipart")),
            ("two types", format!("{FORM}{FORM}"), good.clone(), (400, "bad_request")),
            ("another boundary", typed("multipart/form-data; boundary=c"), good.clone(), (400, "bad_multipart")),
            ("a long boundary", typed(&format!("multipart/form-data; boundary={}", "b".repeat(9_000))), good.clone(),
                (400, "bad_multipart")),
            ("nothing", FORM.to_owned(), Vec::new(), (400, "bad_multipart")),
            ("no part", FORM.to_owned(), b"--b--\r\n".to_vec(), (422, "no_files")),
            ("thousands of fields", FORM.to_owned(), form(&vec![part(b"", b"x"); 5_000]), (413, "too_many_parts")),
            ("a head without end", FORM.to_owned(), part(&huge, b""), (413, "body_too_large")),
            ("a preamble without end", FORM.to_owned(), huge.clone(), (413, "body_too_large")),
            ("a field without end", FORM.to_owned(), form(&[part(b"", &huge), part(b"; filename=\"a.txt\"", b"a page")]),
                (413, "body_too_large")),
            ("a head of many lines", FORM.to_owned(), wide, (400, "bad_multipart")),
            ("a head that is none", FORM.to_owned(), b"--b\r\nnothing of the kind\r\n\r\na page\r\n--b--\r\n".to_vec(),
                (400, "bad_multipart")),
            ("a name not UTF-8", FORM.to_owned(), file(b"; filename=\"\xFF.txt\""), (400, "bad_file_name")),
            ("a name of RFC 5987", FORM.to_owned(), file(b"; filename*=UTF-8''a.txt"), (400, "bad_file_name")),
            ("a bad name of RFC 5987", FORM.to_owned(), file(b"; filename*=UTF-8''%FF; filename=\"a.txt\""), (400, "bad_file_name")),
            ("a name without end", FORM.to_owned(), file(b"; filename=\"a.txt"), (400, "bad_file_name")),
            ("a name in capitals", FORM.to_owned(), file(b"; FileName=\"a.txt\""), (400, "bad_file_name")),
            ("an empty name", FORM.to_owned(), file(b"; filename=\"\""), (400, "bad_file_name")),
            ("a long name", FORM.to_owned(), file(format!("; filename=\"{}\"", "x".repeat(1_025)).as_bytes()), (400, "bad_file_name")),
        ] {
            let heard = ask(&server, whole(&server, &files, &more, &body)).await;
            assert_eq!(heard.told(), (status, code.to_owned()), "{what}: {heard:?}");
            clean(world, &world.app, &server, what).await;
        }
        for path in ["%FF.txt", "%C3.txt", "%80"] {
            let heard = ask(&server, whole(&server, &format!("PUT /v1/submissions/{id}/files/{path}"), "", b"a page")).await;
            assert_eq!(heard.told(), (400, "bad_path".to_owned()), "{path}");
        }
        assert!(world.view(&id).await.documents.is_empty());

        let nested = b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Disposition: form-data; name=\"g\"; \
            filename=\"inner.txt\"\r\n\r\na page\r\n--c--";
        let outer = [b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"outer.txt\"\r\n".as_slice(), nested,
            b"\r\n--b--\r\n"].concat();
        for (what, more, body) in [
            ("a form in a form is a file", FORM.to_owned(), outer),
            ("a boundary in quotes", typed("multipart/form-data; boundary=\"b\""), good.clone()),
            ("words before and after", FORM.to_owned(), [b"before\r\n".to_vec(), file(b"; filename=\"b.txt\""), b"after".to_vec()].concat()),
            ("a field called filename", FORM.to_owned(),
                [b"--b\r\nContent-Disposition: form-data; name=\"filename\"\r\n\r\nx\r\n".to_vec(), file(b"; filename=\"c.txt\"")].concat()),
        ] {
            let heard = ask(&server, whole(&server, &files, &more, &body)).await;
            assert_eq!(heard.status, 201, "{what}: {heard:?}");
            clean(world, &world.app, &server, what).await;
        }
        let mut names: Vec<_> = world.view(&id).await.documents.iter().map(|d| d.file_name.clone()).collect();
        names.sort();
        assert_eq!(names, ["a.txt", "b.txt", "c.txt", "outer.txt"]);
    }
}

on_both! {
    async fn int_04_names_that_read_the_same_do_not_meet_in_one_form(world: &World) {
        let server = Server::start(&world.app).await;
        for (one, other) in [("a.txt", "A.TXT"), ("caf\u{e9}.txt", "cafe\u{301}.txt"), ("a.txt", "a.txt")] {
            let id = server.open(r#"{"kind":"appeal"}"#).await;
            let named = |name: &str| part(format!("; filename=\"{name}\"").as_bytes(), b"a page");
            let body = form(&[named(one), named(other)]);
            let heard = ask(&server, whole(&server, &format!("POST /v1/submissions/{id}/files"), FORM, &body)).await;
            assert_eq!(heard.told(), (409, "duplicate_name".to_owned()), "{one} {other}: {heard:?}");
            clean(world, &world.app, &server, one).await;
            let states = world.view(&id).await;
            assert_eq!(states.documents.iter().filter(|d| d.state == DocumentState::Received).count(), 1);
        }
    }
}

on_both! {
    async fn int_33_a_head_that_floods_or_could_be_read_in_two_ways_is_refused(world: &World) {
        let server = Server::start(&world.app).await;
        let Limits { headers, header_bytes, .. } = world.app.doors.limits;
        let me = "GET /v1/me";
        let key = format!("Authorization: Bearer {}\r\n", server.key);
        for (what, bytes, (status, code)) in [
            ("many headers", head(&server, me, &"A: b\r\n".repeat(headers)), (431, "")),
            ("a long header", head(&server, me, &format!("A: {}\r\n", "b".repeat(4 * header_bytes))), (431, "")),
            ("a long path", head(&server, &format!("GET /{}", "a".repeat(4 * header_bytes)), ""), (431, "")),
            ("two keys", head(&server, me, "Authorization: Bearer another\r\n"), (400, "bad_request")),
            ("one key twice", head(&server, me, &key), (400, "bad_request")),
            ("two hosts", head(&server, me, "Host: another\r\n"), (400, "bad_request")),
            ("no host", format!("{me} HTTP/1.1\r\n{key}\r\n"), (400, "bad_request")),
            ("two users", head(&server, me, "Lettercase-Act-As: a b\r\nLettercase-Act-As: a c\r\n"), (400, "bad_request")),
            ("two keys of repetition", head(&server, "POST /v1/submissions", "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n"),
                (400, "bad_request")),
            ("no request", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), (400, "")),
            ("a line broken in two", head(&server, me, "A: b\r\n c\r\n"), (400, "")),
            ("HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), (400, "")),
        ] {
            let heard = ask(&server, bytes).await;
            let none = code.is_empty() && status == 400 && heard.status == 0;
            assert!(none || heard.told() == (status, code.to_owned()), "{what}: {heard:?}");
            clean(world, &world.app, &server, what).await;
        }
        // HTTP/1.0 knows no Host, and its connection ends with the answer
        let mut line = Line::to(&server).await;
        line.say(format!("{me} HTTP/1.0\r\n{key}\r\n")).await;
        assert_eq!(line.hear().await.status, 200);
        assert_eq!(line.hear().await.status, 0);
    }
}

on_both! {
    async fn int_30_requests_one_behind_the_other_are_answered_in_their_order(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let put = |name: &str, body: &[u8]| whole(&server, &format!("PUT /v1/submissions/{id}/files/{name}"), "", body);
        let mut line = Line::to(&server).await;
        let look = head(&server, &format!("GET /v1/submissions/{id}"), "");
        line.say([put("a.txt", b"a page"), put("A.txt", b"another"), look.into_bytes(), put("b.txt", b"a page")].concat()).await;
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(line.hear().await.status);
        }
        assert_eq!(heard, [201, 409, 200, 201]);
        clean(world, &world.app, &server, "requests in a row").await;
    }
}

on_both! {
    async fn int_30_who_asks_before_sending_is_refused_before_sending(world: &World) {
        let server = Server::start(&world.app).await;
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let put = format!("PUT /v1/submissions/{id}/files/a.txt");
        let expect = |n: u64| format!("Expect: 100-continue\r\nContent-Length: {n}\r\n");
        let mut line = Line::to(&server).await;
        line.say(head(&server, &put, &expect(1 << 30))).await;
        assert_eq!(line.hear().await.told(), (413, "too_large".to_owned()), "without a 100 before it");
        let unknown = format!("PUT /v1/submissions/{}/files/a.txt", world.stamp().ctx.new_id());
        assert_eq!(ask(&server, head(&server, &unknown, &expect(10))).await.told().0, 404);
        let load = head(&server, "POST /v1/reference/tins/load", &format!("Content-Type: text/csv\r\n{}", expect(1 << 40)));
        assert_eq!(ask(&server, load).await.told(), (413, "body_too_large".to_owned()));
        let mut line = Line::to(&server).await;
        line.say(head(&server, &put, &expect(6))).await;
        assert_eq!(line.hear().await.status, 100);
        line.say(b"a page").await;
        assert_eq!(line.hear().await.status, 201);
        clean(world, &world.app, &server, "Expect").await;
    }
}

on_both! {
    async fn int_30_uploads_at_once_are_as_many_as_the_plan_has(world: &World) {
        let server = Server::behind(&world.app, |doors| {
            doors.limits.uploads_per_caller = 2;
            doors.limits.uploads_per_node = 3;
        });
        let id = server.open(r#"{"kind":"appeal"}"#).await;
        let of = |name: &str| format!("PUT /v1/submissions/{id}/files/{name}");
        let mut open = Vec::new();
        let other = super::administration::key(&server, &["submit", "read", "read_any"], serde_json::json!("all"), "live").await.1;
        let others = client(&other);
        let theirs = answer(others.post(server.url("/v1/submissions")).body(r#"{"kind":"appeal"}"#)).await;
        assert_eq!(theirs.0, 201, "{}", theirs.1);
        let theirs: SubmissionId = json(&theirs.1)["id"].as_str().unwrap().parse().unwrap();
        for (n, name) in ["a.txt", "b.txt"].into_iter().enumerate() {
            let mut line = Line::to(&server).await;
            line.say([head(&server, &of(name), "Content-Length: 6\r\n").as_bytes(), b"a "].concat()).await;
            while count(world, "SELECT COUNT(*) AS n FROM document").await < n + 1 {
                tokio::task::yield_now().await;
            }
            open.push(line);
        }
        let refused = ask(&server, whole(&server, &of("c.txt"), "", b"a page")).await;
        assert_eq!(refused.told(), (429, "too_many_uploads".to_owned()));
        assert!(refused.head.contains("retry-after: 2"), "{refused:?}");
        // another caller gets the last place of the node, then there is none
        let as_other = |name: &str, length: usize| {
            format!("PUT /v1/submissions/{theirs}/files/{name} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {other}\r\nContent-Length: {length}\r\n\r\n")
        };
        let mut line = Line::to(&server).await;
        line.say(format!("{}a ", as_other("a.txt", 6))).await;
        while count(world, "SELECT COUNT(*) AS n FROM document").await < 3 {
            tokio::task::yield_now().await;
        }
        let refused = ask(&server, format!("{}a page", as_other("b.txt", 6))).await;
        assert_eq!(refused.told(), (503, "busy".to_owned()));
        assert!(refused.head.contains("retry-after: 2"), "{refused:?}");
        open.push(line);
        for mut line in open {
            line.say(b"page").await;
            assert_eq!(line.hear().await.status, 201);
        }
        assert_eq!(ask(&server, whole(&server, &of("c.txt"), "", b"a page")).await.status, 201, "places are free again");
        clean(world, &world.app, &server, "many uploads").await;
    }
}

on_both! {
    async fn int_33_a_caller_that_asks_too_often_waits_until_the_clock_has_moved(world: &World) {
        let server = Server::behind(&world.app, |doors| {
            doors.rate.requests_per_s = 1.try_into().unwrap();
            doors.rate.burst = 2.try_into().unwrap();
            doors.rate.failed_logins_per_minute = 1.try_into().unwrap();
        });
        for _ in 0..2 {
            for _ in 0..2 {
                assert_eq!(server.get("/v1/me").await.0, 200);
            }
            let refused = ask(&server, head(&server, "GET /v1/me", "")).await;
            assert_eq!(refused.told(), (429, "too_many_requests".to_owned()));
            assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
            assert_eq!(server.get("/health").await.0, 200);
            world.advance(Duration::from_secs(2));
        }
        let wrong = client("lck_live_nothing");
        let asked = async || answer(wrong.get(server.url("/v1/me"))).await.0;
        assert_eq!((asked().await, asked().await), (401, 429));
        world.advance(Duration::from_secs(60));
        assert_eq!(asked().await, 401);
    }
}
