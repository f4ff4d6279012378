//! The readable page of the API's description: plain HTML, nothing loaded from elsewhere, no scripts.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::openapi::codes;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; padding: .6rem; border: 1px solid #8886; border-radius: .3rem; }
details { border: 1px solid #8886; border-radius: .3rem; margin: .4rem 0; padding: 0 .8rem; }
summary { cursor: pointer; padding: .5rem 0; }
summary b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8883; }
";

/// Renders an OpenAPI document.
pub(super) fn render(api: &Value) -> String {
    let mut page = String::new();
    // writing into a String can't fail
    let _ = write(&mut page, api);
    page
}

fn write(page: &mut String, api: &Value) -> std::fmt::Result {
    let (title, version) = (text(&api["info"]["title"]), text(&api["info"]["version"]));
    write!(page, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>")?;
    write!(page, "<title>{title} API</title><style>{STYLE}</style><h1>{title} API {version}</h1>")?;
    for paragraph in api["info"]["description"].as_str().unwrap_or_default().split("\n\n") {
        write!(page, "<p>{}</p>", prose(paragraph))?;
    }
    write!(page, "<p>For programs: <a href=/openapi.json>openapi.json</a> (OpenAPI 3.1).</p>")?;
    let mut by_tag: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, methods) in fields(&api["paths"]) {
        for (method, operation) in fields(methods) {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            by_tag.entry(tag).or_default().push((path, method, operation));
        }
    }
    for (tag, operations) in &by_tag {
        write!(page, "<h2>{}</h2>", escape(tag))?;
        for (path, method, operation) in operations {
            route(page, path, method, operation)?;
        }
    }
    write!(page, "<h2>problems</h2><table><tr><th>code<th>status<th>meaning")?;
    for (code, status, meaning) in codes() {
        write!(page, "<tr><td><code>{}</code><td>{status}<td>{}", escape(code), prose(meaning))?;
    }
    write!(page, "</table><h2>forms</h2>")?;
    for (name, schema) in fields(&api["components"]["schemas"]) {
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let (name, json) = (escape(name), escape(&json));
        write!(page, "<details id='{name}'><summary><code>{name}</code></summary><pre>{json}</pre></details>")?;
    }
    write!(page, "</html>")
}

fn route(page: &mut String, path: &str, method: &str, operation: &Value) -> std::fmt::Result {
    let (method, summary) = (method.to_ascii_uppercase(), prose(operation["summary"].as_str().unwrap_or_default()));
    write!(page, "<details><summary><b>{method}</b> <code>{}</code> {summary}</summary>", escape(path))?;
    if let Some(description) = operation["description"].as_str() {
        write!(page, "<p>{}</p>", prose(description))?;
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        write!(page, "<table><tr><th>parameter<th>in<th>what")?;
        for parameter in parameters {
            let what = prose(parameter["description"].as_str().unwrap_or_default());
            write!(page, "<tr><td><code>{}</code><td>{}<td>{what}", text(&parameter["name"]), text(&parameter["in"]))?;
        }
        write!(page, "</table>")?;
    }
    for (media_type, content) in fields(&operation["requestBody"]["content"]) {
        write!(page, "<p>Body: <code>{}</code> {}</p>", escape(media_type), form(&content["schema"]))?;
    }
    write!(page, "<p>Answers:")?;
    for (status, answer) in fields(&operation["responses"]) {
        let forms: String = fields(&answer["content"]).map(|(_, content)| form(&content["schema"])).collect();
        let forms = if answer.get("$ref").is_some() { "<a href='#Problem'>Problem</a>".to_owned() } else { forms };
        write!(page, " <code>{}</code> {forms}", escape(status))?;
    }
    write!(page, "</p></details>")
}

fn fields(of: &Value) -> impl Iterator<Item = (&str, &Value)> {
    of.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A link to the form that a schema refers to.
fn form(schema: &Value) -> String {
    let name = schema["$ref"].as_str().or(schema["items"]["$ref"].as_str()).and_then(|path| path.rsplit('/').next());
    name.map(|name| format!("<a href='#{0}'>{0}</a>", escape(name))).unwrap_or_default()
}

/// Text with `code` in it.
fn prose(text: &str) -> String {
    let code = |(n, part): (usize, &str)| if n % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() };
    escape(text).split('`').enumerate().map(code).collect()
}

fn text(of: &Value) -> String {
    escape(of.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}
