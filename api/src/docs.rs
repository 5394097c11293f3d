//! The OpenAPI document: `/openapi.json`, and `/docs`, one page for people.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::AppState;
use crate::http::page;

pub(crate) fn routes(document: &OpenApi) -> Router<AppState> {
    let json = Bytes::from(serde_json::to_vec(document).unwrap_or_default());
    let shown = page(document).into_string();
    Router::new()
        .route(
            "/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], json)),
        )
        .route("/docs", get(async move || page::respond(shown)))
}

/// The page of a document. References (`$ref`) are shown as links to the schema's own section.
fn page(document: &OpenApi) -> Markup {
    let document = json!(document);
    let content = html! {
        header.top { strong { "Sluice API" } nav { a href="/openapi.json" { "openapi.json" } a href="/board" { "Board" } } }
        main {
            h1 { "The API" }
            p { (text(&document["info"]["description"])) }
            p { "Every call but the probes needs " code { "Authorization: Bearer <token>" } "." }
            @for tag in array(&document["tags"]) {
                section {
                    h2 { (text(&tag["description"])) }
                    @for (path, method, operation) in operations(&document) {
                        @if array(&operation["tags"]).contains(&tag["name"]) {
                            (operation_section(path, method, operation))
                        }
                    }
                }
            }
            section {
                h2 { "Shapes" }
                @for (name, schema) in fields(&document["components"]["schemas"]) {
                    (schema_section(name, schema))
                }
            }
        }
    };
    page::frame("Sluice API", &content)
}

fn operation_section(path: &str, method: &str, operation: &Value) -> Markup {
    html! {
        article.card {
            h3 { code { (method.to_uppercase()) " " (path) } }
            p { strong { (text(&operation["summary"])) } }
            @for paragraph in text(&operation["description"]).split("\n\n").filter(|text| !text.is_empty()) {
                p { (prose(paragraph)) }
            }
            p.quiet { (access(operation)) }
            @let parameters = array(&operation["parameters"]);
            @if !parameters.is_empty() {
                table {
                    caption { "Parameters" }
                    thead { tr { th scope="col" { "Name" } th scope="col" { "In" } th scope="col" { "Meaning" } } }
                    tbody {
                        @for parameter in parameters {
                            tr {
                                th scope="row" { code { (text(&parameter["name"])) } }
                                td { (text(&parameter["in"])) }
                                td { (prose(text(&parameter["description"]))) }
                            }
                        }
                    }
                }
            }
            @if let Some(body) = operation["requestBody"]["content"]["application/json"].get("schema") {
                p { "Body: " (shape(body)) }
            }
            table {
                caption { "Answers" }
                thead { tr { th scope="col" { "Status" } th scope="col" { "When" } th scope="col" { "Body" } } }
                tbody {
                    @for (status, response) in fields(&operation["responses"]) {
                        tr {
                            th scope="row" { (status) }
                            td { (prose(text(&response["description"]))) }
                            td { @for (kind, content) in fields(&response["content"]) { div { (shape(&content["schema"])) " " span.quiet { (kind) } } } }
                        }
                    }
                }
            }
        }
    }
}

fn schema_section(name: &str, schema: &Value) -> Markup {
    html! {
        article.card id={ "shape-" (name) } {
            h3 { (name) }
            p { (prose(text(&schema["description"]))) }
            @if !text(&schema["type"]).is_empty() && schema["properties"].is_null() {
                p { (shape(schema)) @if let Some(pattern) = schema["pattern"].as_str() { " of the form " code { (pattern) } } }
            }
            @for schema in std::iter::once(schema).chain(array(&schema["oneOf"])) {
                @if schema["properties"].is_object() { (fields_table(schema)) }
            }
        }
    }
}

fn fields_table(schema: &Value) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Field" } th scope="col" { "Type" } th scope="col" { "Meaning" } } }
            tbody {
                @for (field, schema_of_field) in fields(&schema["properties"]) {
                    tr {
                        th scope="row" { code { (field) } }
                        td { (shape(schema_of_field)) }
                        td { (prose(text(&schema_of_field["description"]))) }
                    }
                }
            }
        }
    }
}

/// Which scopes open an endpoint.
fn access(operation: &Value) -> String {
    let scopes: Vec<&str> = array(&operation["security"])
        .iter()
        .flat_map(|way| array(&way["token"]))
        .map(text)
        .collect();
    let own = array(&operation["security"])
        .iter()
        .any(|way| array(&way["token"]).is_empty());
    match (scopes.is_empty(), own) {
        (true, false) => "Needs no token.".to_owned(),
        (true, true) => "Needs a token.".to_owned(),
        (false, false) => format!("Needs a token with the scope {}.", scopes.join(" or ")),
        (false, true) => format!(
            "Needs a token of the user, or one with the scope {}.",
            scopes.join(" or ")
        ),
    }
}

/// A schema in a word or two.
fn shape(schema: &Value) -> Markup {
    let referred = text(&schema["$ref"]).rsplit('/').next().unwrap_or_default();
    let choices: Vec<&str> = array(&schema["enum"]).iter().map(text).collect();
    html! {
        @if !referred.is_empty() {
            a href={ "#shape-" (referred) } { (referred) }
        } @else if !choices.is_empty() {
            (choices.join(" | "))
        } @else if let Some(choices) = schema["oneOf"].as_array() {
            @for (index, choice) in choices.iter().enumerate() { @if index > 0 { " or " } (shape(choice)) }
        } @else if schema["type"] == "array" {
            "list of " (shape(&schema["items"]))
        } @else if let Some(kinds) = schema["type"].as_array() {
            (kinds.iter().map(text).collect::<Vec<_>>().join(" or "))
        } @else if text(&schema["type"]).is_empty() {
            "any JSON"
        } @else {
            (text(&schema["type"]))
        }
    }
}

/// Running text in which backquotes mark code.
fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    fields(&document["paths"]).flat_map(|(path, methods)| {
        fields(methods).map(move |(method, operation)| (path, method, operation))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, value)| (name.as_str(), value))
}
