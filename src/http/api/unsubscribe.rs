//! One-click unsubscribe (RFC 8058, COR-34). Whoever holds the link in a mail sets to off what that mail was about: that
//! user's practices in it, in its category. Only a POST does; a GET shows a page with a button, for programs that look
//! after links would else unsubscribe everybody.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Api, body};
use crate::http::errors::Problem;
use crate::model::ids::MailId;

/// What the body of a one-click request says.
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";
/// Nothing of a page is loaded from elsewhere, and it is in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;\
margin:12vh auto 0;padding:0 1.25rem}h1{font-size:1.35rem}button{font:inherit;padding:.6rem 1.2rem;border:0;\
border-radius:.3rem;background:#1d4f8c;color:#fff;cursor:pointer}";

fn page(status: StatusCode, title: &str, text: &str, form: bool) -> Response {
    let button = if form {
        "<form method=post><input type=hidden name=List-Unsubscribe value=One-Click><button>Stop these e-mails</button></form>"
    } else {
        ""
    };
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <meta name=robots content=noindex><title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{text}</p>{button}</html>"
    );
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (status, headers, html).into_response()
}

/// The mail that a link is of.
fn mail_of(api: &Api, token: &str) -> Option<MailId> {
    api.digests.mail.as_ref()?.composer.unsubscribed(token)
}

fn unknown() -> Response {
    let text = "It may have been cut off on its way to you. You can choose which e-mails you get after signing in.";
    page(StatusCode::NOT_FOUND, "This link can’t be used", text, false)
}

/// See what a link to unsubscribe does. Nothing is changed.
#[utoipa::path(get, path = "/v1/unsubscribe/{token}", tag = "notifications", params(("token" = String, Path, description = "From the mail")),
    responses((status = 200, body = String, content_type = "text/html"), (status = 404, body = String, content_type = "text/html")))]
pub async fn ask(State(api): State<Api>, path: Result<Path<String>, PathRejection>) -> Response {
    if path.ok().and_then(|Path(token)| mail_of(&api, &token)).is_none() {
        return unknown();
    }
    let text = "You will get no more e-mails about this kind of correspondence of the practices that the e-mail was about. \
                What arrives can still be read in the Messaging Center, and you can turn the e-mails on again there.";
    page(StatusCode::OK, "Stop these e-mails?", text, true)
}

/// Unsubscribe from what a mail was about.
#[utoipa::path(post, path = "/v1/unsubscribe/{token}", tag = "notifications", params(("token" = String, Path, description = "From the mail")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`List-Unsubscribe=One-Click`"),
    responses((status = 200, body = String, content_type = "text/html"), (status = 404, body = String, content_type = "text/html")))]
pub async fn unsubscribe(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, Problem> {
    let Some(mail) = path.ok().and_then(|Path(token)| mail_of(&api, &token)) else { return Ok(unknown()) };
    let said = body::small(&api, body).await?;
    if !asks(&said) {
        return Err(Problem::bad(format!("the body must say {ONE_CLICK} (RFC 8058)")));
    }
    if api.digests.off_for_mail(&mail).await?.is_none() {
        return Ok(unknown());
    }
    let text = "Nothing of this kind is sent to you any more about the practices that the e-mail was about. You can turn \
                it on again after signing in.";
    Ok(page(StatusCode::OK, "You are unsubscribed", text, false))
}

/// Whether a body says it, as a form or as one of several parts (RFC 8058, section 3.1).
fn asks(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    if text.split('&').any(|field| field.trim() == ONE_CLICK) {
        return true;
    }
    let mut lines = text.lines().map(str::trim_end);
    lines.any(|line| {
        line.to_ascii_lowercase().starts_with("content-disposition:") && line.contains("name=\"List-Unsubscribe\"")
    }) && lines.any(|line| line == "One-Click")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cor_34_the_body_of_a_one_click_request_is_known_in_both_of_its_forms_and_nothing_else_is() {
        assert!(asks(b"List-Unsubscribe=One-Click"));
        assert!(asks(b"a=b&List-Unsubscribe=One-Click\r\n"));
        assert!(asks(
            b"--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"
        ));
        for other in
            [&b""[..], b"List-Unsubscribe", b"List-Unsubscribe=No", b"x=List-Unsubscribe=One-Click", b"\xff\xfe"]
        {
            assert!(!asks(other), "{other:?}");
        }
    }
}
