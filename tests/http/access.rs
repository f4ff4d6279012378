//! Who may use which route, and what a caller does not see.

use lettercase::http::api::{RULES, openapi, routes};
use lettercase::http::guard::Rule;
use lettercase::model::access::{Action, Answer, Mode, Principal, Role, Scope, Target, TinSet, may};

use super::{Server, answer, client, json};
use crate::on_both;

/// The operations of the router, as the description has them.
fn operations() -> Vec<(String, String)> {
    let (_, mut api) = routes().split_for_parts();
    let of = |(path, item): (&String, &mut _)| {
        openapi::operations(item).into_iter().map(|(method, _)| (method.to_owned(), path.clone())).collect::<Vec<_>>()
    };
    api.paths.paths.iter_mut().flat_map(of).collect()
}

#[test]
fn every_route_has_a_rule_and_every_rule_its_route() {
    let mut routed = operations();
    let mut ruled: Vec<_> = RULES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    routed.sort();
    ruled.sort();
    assert_eq!(routed, ruled);
}

#[test]
fn every_action_is_some_routes() {
    let action = |rule: &Rule| match rule {
        Rule::For(action) => Some(*action),
        Rule::Metrics => Some(Action::ReadMetrics),
        Rule::Open => None,
    };
    let used: Vec<Action> = RULES.iter().filter_map(|(_, _, rule)| action(rule)).collect();
    let unused: Vec<_> = Action::ALL.iter().filter(|action| !used.contains(action)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// One row per rule: which single scopes and which single roles open it, and whether users do.
fn matrix() -> String {
    let key: lettercase::model::ids::KeyId = "018f2f6e-7b1a-7c3d-8e4f-5a6b7c8d9e0f".parse().unwrap();
    let user: lettercase::model::ids::UserId = "018f2f6e-7b1a-7c3d-8e4f-5a6b7c8d9e0f".parse().unwrap();
    let mut text = String::new();
    for (method, path, rule) in RULES {
        let callers = match rule {
            Rule::Open => "anybody".to_owned(),
            Rule::Metrics | Rule::For(_) => {
                let action = if let Rule::For(action) = rule { *action } else { Action::ReadMetrics };
                let service = |scope: &Scope| Principal::Service {
                    key: key.clone(),
                    scopes: [*scope].into(),
                    tins: TinSet::All,
                    mode: Mode::Live,
                };
                let staff = |role: &Role| Principal::Staff { user: user.clone(), roles: [*role].into() };
                let allows = |who: &Principal| may(who, action, &Target::Route) == Answer::Yes;
                let scopes = Scope::ALL.iter().filter(|s| allows(&service(s))).map(|s| s.as_str());
                let roles = Role::ALL.iter().filter(|r| allows(&staff(r))).map(|r| r.as_str());
                let someone = Principal::User { user: user.clone(), rights: Default::default(), mode: Mode::Live };
                let users = allows(&someone).then_some("users");
                let join = |names: Vec<&str>| names.join(" ");
                format!(
                    "keys: {} | staff: {} | {}",
                    join(scopes.collect()),
                    join(roles.collect()),
                    users.unwrap_or("-")
                )
            }
        };
        text.push_str(&format!("{method} {path}: {callers}\n"));
    }
    text
}

#[test]
fn ops_17_the_matrix_of_routes_and_callers() {
    insta::assert_snapshot!(matrix());
}

on_both! {
    async fn int_33_without_a_valid_key_a_route_tells_nothing(world: &World) {
        let server = Server::start(&world.app).await;
        let bare = reqwest::Client::builder().no_proxy().build().unwrap();
        let wrong = client("lck_live_nothing");
        for (method, path, rule) in RULES {
            // a refused login is counted, and the clock stands
            world.advance(std::time::Duration::from_secs(5));
            let path = path.replace("{id}", &world.stamp().ctx.new_id()).replace("{", "").replace("}", "");
            let method: reqwest::Method = method.parse().unwrap();
            let (open, _) = answer(bare.request(method.clone(), server.url(&path))).await;
            let (unknown, text) = answer(wrong.request(method.clone(), server.url(&path))).await;
            match rule {
                // the token in its path is the key, and this is none
                Rule::Open if path.starts_with("/v1/unsubscribe/") => assert_eq!((open, unknown), (404, 404), "{path}"),
                Rule::Open => assert_eq!((open, unknown), (200, 200), "{path}"),
                Rule::Metrics => assert_eq!((open, unknown), (200, 401), "{path}"),
                Rule::For(_) => {
                    assert_eq!((open, unknown), (401, 401), "{path}");
                    // the answer to HEAD has no body
                    assert!(method == "HEAD" || json(&text)["code"] == "unauthenticated", "{path}: {text}");
                }
            }
        }
    }
}
