//! The API's own description: OpenAPI 3.1, made from the routes and the list of problems, and a page to read it.

use std::sync::LazyLock;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, Ref, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use super::{RULES, routes};
use crate::http::errors::Problem;
use crate::http::guard::Rule;
use crate::http::problems::Code;
use crate::model::judgement::ReasonCode;

const INTRODUCTION: &str = "Document intake for health plans: files in, each on the right case.

Authenticate with `Authorization: Bearer KEY`. Errors are problem details (RFC 9457) with a stable `code`; the codes
are listed below the routes. Lists come in pages: send `next` as `cursor`. Instants are UTC in RFC 3339.";

/// What stands above the routes.
pub fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Lettercase")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let problem = ResponseBuilder::new()
        .description("A problem, by its stable code")
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build(),
        )
        .build();
    let components = ComponentsBuilder::new()
        .schema(Problem::name(), Problem::schema())
        .response("Problem", problem)
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The whole description: each operation with the problems that any of them can answer with, and the callers it is for.
pub fn described() -> &'static OpenApi {
    static DESCRIBED: LazyLock<OpenApi> = LazyLock::new(|| {
        let (_, mut api) = routes().split_for_parts();
        for (path, item) in &mut api.paths.paths {
            for (method, operation) in operations(item) {
                let rule = RULES.iter().find(|(m, p, _)| *m == method && p == path).map(|(_, _, rule)| *rule);
                complete(operation, rule);
            }
        }
        api
    });
    &DESCRIBED
}

/// The operations of a path, by their methods.
pub fn operations(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("OPTIONS", &mut item.options),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation))).collect()
}

fn complete(operation: &mut Operation, rule: Option<Rule>) {
    let open = rule == Some(Rule::Open);
    let problem = || Ref::from_response_name("Problem");
    let shared: &[&str] = if open { &["503"] } else { &["400", "401", "403", "404", "429", "500", "503"] };
    for status in shared {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| problem().into());
    }
    // what a route alone can answer with beside these stands in its description; all of it has this form
    operation.responses.responses.entry("default".to_owned()).or_insert_with(|| problem().into());
    let bearer = || SecurityRequirement::new("bearer", Vec::<String>::new());
    operation.security = match rule {
        Some(Rule::Open) => None,
        // some addresses need none
        Some(Rule::Metrics) => Some(vec![SecurityRequirement::default(), bearer()]),
        _ => Some(vec![bearer()]),
    };
}

/// The OpenAPI 3.1 document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, body = Object)))]
pub async fn document() -> Json<&'static OpenApi> {
    Json(described())
}

/// The same as a page to read.
#[utoipa::path(get, path = "/docs", tag = "operation", responses((status = 200, body = String, content_type = "text/html")))]
pub async fn page() -> impl IntoResponse {
    static PAGE: LazyLock<String> =
        LazyLock::new(|| super::page::render(&serde_json::to_value(described()).unwrap_or_default()));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE.as_str()))
}

/// All codes of problems: (code, status, meaning).
pub fn codes() -> impl Iterator<Item = (&'static str, u16, &'static str)> {
    let files = ReasonCode::ALL.iter().map(|reason| Code::File(*reason));
    Code::OF_REQUESTS.iter().copied().chain(files).map(|code| (code.as_str(), code.status().as_u16(), code.meaning()))
}
