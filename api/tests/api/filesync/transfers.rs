//! Contents of files over HTTP.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluice_api::ApiConfig;
use sluice_api::auth::Scope;
use sluice_jobs::filesync::ContentsConfig;
use sluice_objects::Objects;
use sluice_store::filesync::{Batch, Caller, Filesync};
use sluice_valkey::Valkey;

use super::{SHARES, User, code, is, problem};
use crate::app::{Answer, App};

const TEXT: &[u8] = b"0123456789";

fn config() -> ApiConfig {
    ApiConfig {
        contents: Some(ContentsConfig {
            objects: Objects::in_memory(),
            max_bytes: 1_000_000,
            uploads: 10,
        }),
        ..ApiConfig::default()
    }
}

/// A user with a share, and whatever is sent there.
struct World {
    app: App,
    user: User,
    share: String,
}

impl World {
    async fn start() -> World {
        let app = App::start_with(config()).await;
        let user = User::new("ann");
        let share = user.share(&app).await;
        World { app, user, share }
    }

    fn upload_path(&self, file: &str, query: &str) -> String {
        let share = &self.share;
        format!("/api/v1/sync/upload/{file}?share_id={share}{query}")
    }

    async fn call(
        &self,
        user: &User,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = user.request(method, path, Body::from(body.to_vec()));
        request.headers_mut().remove("content-type");
        set(&mut request, headers);
        self.app.send(request).await
    }

    async fn put(&self, path: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let headers = [&[("content-length", &*length)], headers].concat();
        self.call(&self.user, "PUT", path, &headers, body).await
    }

    /// Uploads a content of the file `f` and returns its version.
    async fn upload(&self, body: &[u8]) -> String {
        let answer = self.put(&self.upload_path("f", ""), &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["version_id"].as_str().unwrap().to_owned()
    }

    async fn download(&self, query: &str, headers: &[(&'static str, &str)]) -> Answer {
        let path = format!("/api/v1/sync/download/f{query}");
        self.call(&self.user, "GET", &path, headers, b"").await
    }

    /// Applies one change of a new file or its content.
    async fn apply(&self, change: Value) {
        self.user.register(&self.app, "a").await;
        let files = Filesync::new(&Valkey::at(&self.app.valkey.url()).unwrap());
        let caller = Caller {
            tenant: "t".into(),
            user: "ann".into(),
            groups: Vec::new(),
            is_admin: false,
        };
        let batch = Batch {
            device: "a".into(),
            share: self.share.clone(),
            strategy: None,
            base_cursor: None,
            sent_at: None,
            is_confirmed: false,
            changes: vec![serde_json::from_value(change).unwrap()],
        };
        let applied = files.apply(&caller, &batch).await.unwrap();
        assert_eq!(applied.applied.len(), 1, "{applied:?}");
    }
}

fn set(request: &mut Request<Body>, headers: &[(&'static str, &str)]) {
    let values: HeaderMap = headers
        .iter()
        .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    request.headers_mut().extend(values);
}

fn sha256(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256(body)))
}

fn tag(body: &[u8]) -> String {
    format!("\"sha256-{}\"", sluice_objects::hex(&sha256(body)))
}

#[tokio::test]
async fn what_was_uploaded_is_downloaded() {
    let world = World::start().await;
    let digest = digest(TEXT);
    let headers = [
        ("content-type", "text/plain"),
        ("content-digest", &*digest),
        ("repr-digest", &*digest),
    ];
    let answer = world.put(&world.upload_path("f", ""), &headers, TEXT).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let made = answer.json();
    assert_eq!(made["size"], 10);
    assert_eq!(made["sha256"], sluice_objects::hex(&sha256(TEXT)));

    let version = made["version_id"].as_str().unwrap();
    let found = world.download(&format!("?version={version}"), &[]).await;
    assert_eq!((found.status.as_u16(), &*found.body), (200, TEXT));
    for (name, value) in [
        ("etag", &*tag(TEXT)),
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("x-version-id", version),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
    ] {
        assert_eq!(found.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn head_says_what_get_would_without_a_body_or_a_range() {
    let world = World::start().await;
    let version = world.upload(TEXT).await;
    let path = format!("/api/v1/sync/download/f?version={version}");
    let answer = world
        .call(&world.user, "HEAD", &path, &[("range", "bytes=0-1")], b"")
        .await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), "10");
    assert_eq!(answer.header("etag"), tag(TEXT));
    let missing = "/api/v1/sync/download/g";
    let answer = world.call(&world.user, "HEAD", missing, &[], b"").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (404, 0));
}

#[tokio::test]
async fn ranges_are_answered_as_http_has_them() {
    let world = World::start().await;
    let version = world.upload(TEXT).await;
    let at = |query: &str| format!("?version={version}{query}");
    let part = world.download(&at(""), &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status.as_u16(), &*part.body), (206, &TEXT[2..5]));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(part.header("content-length"), "3");
    assert_eq!(part.header("etag"), tag(TEXT));
    let by_query = world
        .download(&at("&range_start=8&range_end=99"), &[])
        .await;
    assert_eq!(
        (by_query.status.as_u16(), &*by_query.body),
        (206, &TEXT[8..])
    );

    let past = world.download(&at(""), &[("range", "bytes=10-")]).await;
    assert_eq!(code(&past), is(416, "RANGE_NOT_SATISFIABLE"));
    assert_eq!(past.header("content-range"), "bytes */10");
    let other = [("range", "bytes=2-4")];
    let both = world.download(&at("&range_start=3"), &other).await;
    assert_eq!(code(&both), is(422, "INVALID_REQUEST"));
    for query in [
        "&range_start=x",
        "&range_end=-1",
        "&range_start=2&range_end=1",
    ] {
        let answer = world.download(&at(query), &[]).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{query}");
    }
    let older = [("range", "bytes=2-4"), ("if-range", "\"sha256-other\"")];
    let whole = world.download(&at(""), &older).await;
    assert_eq!((whole.status.as_u16(), &*whole.body), (200, TEXT));
}

#[tokio::test]
async fn a_content_that_the_caller_has_is_not_sent() {
    let world = World::start().await;
    let version = world.upload(TEXT).await;
    let query = format!("?version={version}");
    let weak = format!("\"x\", W/{}", tag(TEXT));
    for known in [&*tag(TEXT), &*weak, "*"] {
        let headers = [("if-none-match", known), ("range", "bytes=0-1")];
        let answer = world.download(&query, &headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len()),
            (304, 0),
            "{known}"
        );
        assert_eq!(answer.header("etag"), tag(TEXT));
    }
    let other = world.download(&query, &[("if-none-match", "\"x\"")]).await;
    assert_eq!(other.status, 200);
    let malformed = world.download(&query, &[("if-none-match", "x")]).await;
    assert_eq!(code(&malformed), is(422, "INVALID_REQUEST"));
}

#[tokio::test]
async fn an_empty_content_is_one_like_others() {
    let world = World::start().await;
    let version = world.upload(b"").await;
    let query = format!("?version={version}");
    let whole = world.download(&query, &[]).await;
    assert_eq!(
        (whole.status.as_u16(), whole.header("content-length")),
        (200, "0")
    );
    let suffix = world.download(&query, &[("range", "bytes=-5")]).await;
    assert_eq!((suffix.status.as_u16(), suffix.body.len()), (200, 0));
    let start = world.download(&query, &[("range", "bytes=0-")]).await;
    assert_eq!(code(&start), is(416, "RANGE_NOT_SATISFIABLE"));
    assert_eq!(start.header("content-range"), "bytes */0");
}

#[tokio::test]
async fn a_version_of_another_file_is_not_found() {
    let world = World::start().await;
    let version = world.upload(TEXT).await;
    let other = world.put(&world.upload_path("g", ""), &[], b"other").await;
    assert_eq!(other.status, 200);
    let get = async |user: &User, path: &str| code(&world.call(user, "GET", path, &[], b"").await);
    let not_found = is(404, "NOT_FOUND");
    let path = format!("/api/v1/sync/download/g?version={version}");
    assert_eq!(get(&world.user, &path).await, not_found);
    assert_eq!(get(&world.user, "/api/v1/sync/download/f").await, not_found);
    assert_eq!(
        get(&world.user, "/api/v1/sync/download/nothing").await,
        not_found
    );

    // Whoever is not let in is told the same, in the same words.
    let path = format!("/api/v1/sync/download/f?version={version}");
    let stranger = world.call(&User::new("bob"), "GET", &path, &[], b"").await;
    let nothing = "/api/v1/sync/download/nothing?version=ver_1";
    let nothing = world
        .call(&User::new("bob"), "GET", nothing, &[], b"")
        .await;
    assert_eq!(problem(&stranger), problem(&nothing));
}

#[tokio::test]
async fn an_upload_that_lacks_something_is_refused_with_the_rule() {
    let world = World::start().await;
    let path = world.upload_path("f", "");
    let without = world.call(&world.user, "PUT", &path, &[], TEXT).await;
    assert_eq!(code(&without), is(411, "LENGTH_REQUIRED"));
    let long = [("content-length", "1000001")];
    let long = world.call(&world.user, "PUT", &path, &long, b"").await;
    assert_eq!(code(&long), is(413, "TOO_LARGE"));
    for (path, headers) in [
        (world.upload_path("f", "&offset=5"), &[][..]),
        (world.upload_path("f", "&offset=x&upload_id=u"), &[]),
        (world.upload_path("f", "&upload_id=a%20b"), &[]),
        (world.upload_path("root", ""), &[]),
        (world.upload_path("f", "&other=1"), &[]),
        (path.clone(), &[("content-digest", "sha-256=x")]),
        (path.clone(), &[("repr-digest", "x")]),
    ] {
        let answer = world.put(&path, headers, TEXT).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{path}");
    }
    for header in ["content-digest", "repr-digest"] {
        let answer = world
            .put(&path, &[(header, &*digest(b"other"))], TEXT)
            .await;
        assert_eq!(code(&answer), is(422, "SYNC_DIGEST"), "{header}");
    }
    let missing = world
        .put("/api/v1/sync/upload/f?share_id=shr_1", &[], TEXT)
        .await;
    assert_eq!(code(&missing), is(404, "NOT_FOUND"));
}

#[tokio::test]
async fn uploads_need_the_scope_and_the_right_to_write() {
    let world = World::start().await;
    world
        .user
        .grant(&world.app, &world.share, "bob", "read")
        .await;
    let path = world.upload_path("f", "");
    let length = [("content-length", "10")];
    let reader = world
        .call(&User::new("bob"), "PUT", &path, &length, TEXT)
        .await;
    assert_eq!(code(&reader), is(403, "FORBIDDEN"));
    let scoped = User::of("t", "ann", &[], &[Scope::FilesRead]);
    let scoped = world.call(&scoped, "PUT", &path, &length, TEXT).await;
    assert_eq!(code(&scoped), is(403, "FORBIDDEN"));
    let stranger = world
        .call(&User::new("eve"), "PUT", &path, &length, TEXT)
        .await;
    assert_eq!(code(&stranger), is(404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_quota_is_held_by_the_length_that_was_said() {
    let world = World::start().await;
    let body = json!({"name": "small", "quota": 15});
    let share = world
        .user
        .send(&world.app, "POST", SHARES, &body)
        .await
        .json();
    let share = share["id"].as_str().unwrap();
    let path = format!("/api/v1/sync/upload/f?share_id={share}");
    assert_eq!(world.put(&path, &[], TEXT).await.status, 200);
    let full = world.put(&path, &[], TEXT).await;
    assert_eq!(code(&full), is(507, "SYNC_QUOTA"));
    assert_eq!(world.put(&path, &[], b"12345").await.status, 200);
}

#[tokio::test]
async fn an_upload_with_a_name_tells_how_far_it_is_and_can_be_given_up() {
    let world = World::start().await;
    let path = world.upload_path("f", "&upload_id=u");
    let head = async || world.call(&world.user, "HEAD", &path, &[], b"").await;
    assert_eq!(head().await.status, 404);

    // The client goes away in the midst of it.
    let broken = body_of(vec![Ok(TEXT), Err(())]);
    let mut request = world.user.request("PUT", &path, broken);
    set(&mut request, &[("content-length", "20")]);
    let cut = world.app.send(request).await;
    assert_eq!(code(&cut), is(422, "SYNC_DIGEST"));
    let state = head().await;
    assert_eq!(state.status, 204);
    assert_eq!(state.header("upload-offset"), "0");
    assert_eq!(state.header("upload-length"), "20");
    assert_eq!(state.header("upload-complete"), "?0");

    let elsewhere = world.upload_path("f", "&upload_id=u&offset=5");
    let elsewhere = world.put(&elsewhere, &[], &[0; 15]).await;
    assert_eq!(code(&elsewhere), is(409, "SYNC_OFFSET"));
    assert_eq!(elsewhere.json()["offset"], 0);
    let shorter = world.put(&path, &[], TEXT).await;
    assert_eq!(code(&shorter), is(422, "SYNC_ID_REUSED"));

    let gone = world.call(&world.user, "DELETE", &path, &[], b"").await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(head().await.status, 404);

    let made = world.put(&path, &[], TEXT).await;
    let again = world.put(&path, &[], TEXT).await;
    assert_eq!((made.status.as_u16(), made.json()), (200, again.json()));
    assert_eq!(head().await.header("upload-complete"), "?1");
}

fn body_of(pieces: Vec<Result<&'static [u8], ()>>) -> Body {
    let pieces = pieces.into_iter();
    let pieces =
        pieces.map(|piece| piece.map_err(|()| std::io::Error::other("the client is gone")));
    Body::from_stream(futures_util::stream::iter(pieces))
}

#[tokio::test]
async fn versions_are_listed_and_an_older_one_is_brought_back() {
    let world = World::start().await;
    let first = world.upload(b"first").await;
    let second = world.upload(b"second").await;
    world
        .apply(json!({"resource_type": "file", "change_type": "created", "resource_id": "f",
            "new_path": "/f", "version_id": first, "metadata": {"modified_at": "2099-01-01T00:00:00Z"}}))
        .await;
    world
        .apply(json!({"resource_type": "file", "change_type": "updated", "resource_id": "f",
            "version_id": second, "base_version_id": first, "metadata": {"modified_at": "1913-01-01T00:00:00Z"}}))
        .await;
    let now = async || world.download("", &[]).await.text();
    assert_eq!(now().await, "second");
    let list = async || {
        let answer = world
            .user
            .get(&world.app, "/api/v1/sync/files/f/versions")
            .await;
        let versions = answer.json();
        let versions = versions.as_array().unwrap().iter();
        versions
            .map(|it| it["version_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list().await, [second.clone(), first.clone()]);
    world
        .apply(
            json!({"resource_type": "file", "change_type": "updated", "resource_id": "f",
            "version_id": first, "base_version_id": second}),
        )
        .await;
    assert_eq!(now().await, "first");
    assert_eq!(list().await, [first, second]);
    let stranger = User::new("bob")
        .get(&world.app, "/api/v1/sync/files/f/versions")
        .await;
    assert_eq!(code(&stranger), is(404, "NOT_FOUND"));
}

#[tokio::test]
async fn without_a_content_store_transfers_are_answered_so() {
    let app = App::start().await;
    let user = User::new("ann");
    let share = user.share(&app).await;
    let path = format!("/api/v1/sync/upload/f?share_id={share}");
    let mut request = user.request("PUT", &path, Body::from(TEXT));
    set(&mut request, &[("content-length", "10")]);
    assert_eq!(code(&app.send(request).await), is(503, "NO_CONTENTS"));
    let download = user.get(&app, "/api/v1/sync/download/f").await;
    assert_eq!(code(&download), is(503, "NO_CONTENTS"));
}
