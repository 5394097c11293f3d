#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a development secret of 32 bytes";
const HOUR: Duration = Duration::from_secs(3600);

fn secret_auth() -> Auth {
    auth(AuthConfig {
        dev_secret: Some(SECRET.into()),
        ..AuthConfig::default()
    })
}

fn auth(config: AuthConfig) -> Auth {
    Auth::new(config).unwrap()
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn sign(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

async fn refusal(auth: &Auth, token: &str) -> String {
    let error = auth.verify(token).await.unwrap_err();
    assert!(matches!(error, Denial::Unauthorized(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_minted_token_names_its_user_and_carries_its_scopes() {
    let token = mint(SECRET, "usr_1", &[Scope::MetaRead, Scope::Admin], HOUR).unwrap();
    let caller = secret_auth().verify(&token).await.unwrap();
    assert_eq!(caller.subject(), Some("usr_1"));
    assert!(caller.has(&Scope::MetaRead) && caller.has(&Scope::Admin));
    assert!(matches!(
        caller.require(Scope::MetaWrite),
        Err(Denial::Forbidden(Scope::MetaWrite))
    ));
}

#[tokio::test]
async fn scopes_of_other_services_are_ignored() {
    let token =
        sign(&json!({"sub": "u", "scope": "openid  meta:read meta:readx", "exp": now() + 60}));
    let caller = secret_auth().verify(&token).await.unwrap();
    assert!(caller.has(&Scope::MetaRead));
    assert!(!caller.has(&Scope::MetaWrite));
}

#[tokio::test]
async fn expiry_is_required_and_holds_up_to_the_leeway() {
    let auth = secret_auth();
    let expiring = |exp: u64| sign(&json!({"sub": "u", "exp": exp}));
    assert!(
        auth.verify(&expiring(now() - LEEWAY_SECS / 2))
            .await
            .is_ok()
    );
    let expired = expiring(now() - LEEWAY_SECS - 5);
    assert_eq!(refusal(&auth, &expired).await, "the token has expired");
    assert_eq!(
        refusal(&auth, &sign(&json!({"sub": "u"}))).await,
        "the token has no exp"
    );
}

#[tokio::test]
async fn a_token_is_not_good_before_its_time() {
    let token = sign(&json!({"sub": "u", "exp": now() + 7200, "nbf": now() + 3600}));
    assert_eq!(
        refusal(&secret_auth(), &token).await,
        "the token is not valid yet"
    );
}

#[tokio::test]
async fn another_secret_or_a_changed_claim_is_refused() {
    let auth = secret_auth();
    let other = mint("another development secret, 32 b", "u", &[], HOUR).unwrap();
    assert_eq!(
        refusal(&auth, &other).await,
        "the token's signature is wrong"
    );

    let token = mint(SECRET, "u", &[], HOUR).unwrap();
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let claims = json!({"sub": "u", "scope": "admin", "exp": now() + 60}).to_string();
    let forged = format!(
        "{header}.{}.{signature}",
        BASE64_URL_SAFE_NO_PAD.encode(claims)
    );
    assert_eq!(
        refusal(&auth, &forged).await,
        "the token's signature is wrong"
    );
}

#[tokio::test]
async fn unsigned_tokens_and_noise_are_refused() {
    let auth = secret_auth();
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"sub": "u", "exp": now() + 60}).to_string());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"typ":"JWT"}"#,
    ] {
        let header = BASE64_URL_SAFE_NO_PAD.encode(header);
        refusal(&auth, &format!("{header}.{claims}.")).await;
    }
    for noise in ["", ".", "..", "a.b.c", "é", &"x".repeat(10_000)] {
        refusal(&auth, noise).await;
    }
}

#[tokio::test]
async fn issuer_and_audience_are_required_once_configured() {
    let auth = auth(AuthConfig {
        dev_secret: Some(SECRET.into()),
        issuer: Some("https://issuer".to_owned()),
        audience: Some("sluice".to_owned()),
        ..AuthConfig::default()
    });
    let exp = now() + 60;
    let good = sign(&json!({"exp": exp, "iss": "https://issuer", "aud": ["other", "sluice"]}));
    assert_eq!(auth.verify(&good).await.unwrap().subject(), None);
    for (claims, reason) in [
        (json!({"exp": exp, "aud": "sluice"}), "the token has no iss"),
        (
            json!({"exp": exp, "iss": "https://issuer"}),
            "the token has no aud",
        ),
        (
            json!({"exp": exp, "iss": "x", "aud": "sluice"}),
            "the token is of another issuer",
        ),
        (
            json!({"exp": exp, "iss": "https://issuer", "aud": "x"}),
            "the token is for another audience",
        ),
    ] {
        assert_eq!(refusal(&auth, &sign(&claims)).await, reason, "{claims}");
    }
}

#[tokio::test]
async fn without_a_source_of_keys_every_token_is_refused() {
    let token = mint(SECRET, "u", &[], HOUR).unwrap();
    refusal(&auth(AuthConfig::default()), &token).await;
}

#[test]
fn a_short_secret_is_refused() {
    let config = AuthConfig {
        dev_secret: Some("short".into()),
        ..AuthConfig::default()
    };
    assert!(matches!(Auth::new(config), Err(AuthError::WeakSecret)));
    assert!(matches!(
        mint("short", "u", &[], HOUR),
        Err(AuthError::WeakSecret)
    ));
}

/// A private key and its public part.
struct Pair {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Jwk,
}

impl Pair {
    fn es256(kid: &str) -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap();
        Self::new(
            kid,
            Algorithm::ES256,
            EncodingKey::from_ec_der(document.as_ref()),
        )
    }

    fn rs256(kid: &str) -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = BASE64_STANDARD.encode(pair.as_der().unwrap().as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        Self::new(
            kid,
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        )
    }

    fn new(kid: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Self {
            algorithm,
            key,
            jwk,
        }
    }

    fn token(&self) -> String {
        self.token_under(self.jwk.common.key_id.as_deref())
    }

    /// One that says this of its key.
    fn token_under(&self, kid: Option<&str>) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        let claims = json!({"sub": "u", "scope": "meta:read", "exp": now() + 60});
        encode(&header, &claims, &self.key).unwrap()
    }
}

/// An issuer whose keys can be changed, and that counts how often they are asked for.
#[derive(Clone, Default)]
struct Issuer {
    keys: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    /// It takes requests and answers none.
    hangs: Arc<AtomicBool>,
}

impl Issuer {
    async fn serve(&self) -> Url {
        let issuer = self.clone();
        let answer = move || async move {
            issuer.asked.fetch_add(1, Ordering::SeqCst);
            if issuer.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            axum::Json(json!({"keys": *issuer.keys.lock().unwrap()}))
        };
        let router = axum::Router::new().route("/jwks", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/jwks").parse().unwrap()
    }

    fn publish(&self, keys: &[&Pair]) {
        let keys: Vec<Jwk> = keys.iter().map(|pair| pair.jwk.clone()).collect();
        self.publish_all(json!(keys));
    }

    fn publish_all(&self, keys: Value) {
        *self.keys.lock().unwrap() = keys;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An [`Auth`] of this issuer and of the development secret.
async fn issuer_auth(issuer: &Issuer, min_interval: Duration) -> Auth {
    issuer_auth_with(issuer, min_interval, HOUR).await
}

async fn issuer_auth_with(issuer: &Issuer, min_interval: Duration, max_age: Duration) -> Auth {
    let jwks = Jwks::new(issuer.serve().await, min_interval, max_age).unwrap();
    Auth(Arc::new(Sources {
        secret: Some(DecodingKey::from_secret(SECRET.as_bytes())),
        jwks: Some(jwks),
        validation: validation(None, None),
        verified: Verified::default(),
    }))
}

#[tokio::test]
async fn tokens_signed_by_the_issuer_are_good() {
    let (issuer, es, rs) = (Issuer::default(), Pair::es256("es"), Pair::rs256("rs"));
    issuer.publish(&[&es, &rs]);
    let auth = issuer_auth(&issuer, HOUR).await;
    for pair in [&es, &rs] {
        let caller = auth.verify(&pair.token()).await.unwrap();
        assert!(caller.has(&Scope::MetaRead));
    }
    assert_eq!(issuer.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found() {
    let (issuer, old, new) = (Issuer::default(), Pair::es256("old"), Pair::es256("new"));
    issuer.publish(&[&old]);
    let auth = issuer_auth(&issuer, Duration::ZERO).await;
    auth.verify(&old.token()).await.unwrap();
    issuer.publish(&[&old, &new]);
    auth.verify(&new.token()).await.unwrap();
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn old_keys_serve_while_an_issuer_hangs_that_is_asked_for_new_ones() {
    let (issuer, known) = (Issuer::default(), Pair::es256("known"));
    issuer.publish(&[&known]);
    let auth = issuer_auth_with(&issuer, Duration::ZERO, Duration::ZERO).await;
    auth.verify(&known.token()).await.unwrap();
    issuer.hangs.store(true, Ordering::SeqCst);
    let begun = issuer.asked();
    while issuer.asked() == begun {
        auth.verify(&known.token()).await.unwrap();
        tokio::task::yield_now().await;
    }
    // The fetch hangs now, and is not waited for.
    let token = known.token();
    let verified = tokio::time::timeout(Duration::from_secs(2), auth.verify(&token));
    verified.await.expect("waited for the issuer").unwrap();
}

#[tokio::test]
async fn a_token_of_a_key_that_is_gone_is_refused_however_often_it_was_good() {
    let (issuer, old, new) = (Issuer::default(), Pair::es256("old"), Pair::es256("new"));
    issuer.publish(&[&old]);
    let auth = issuer_auth_with(&issuer, Duration::ZERO, Duration::ZERO).await;
    let token = old.token();
    auth.verify(&token).await.unwrap();
    issuer.publish(&[&new]);
    let refused = async {
        while auth.verify(&token).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused)
        .await
        .unwrap();
    auth.verify(&new.token()).await.unwrap();
}

#[tokio::test]
async fn of_keys_with_one_name_the_one_that_fits_the_algorithm_counts() {
    let (issuer, es, rs) = (Issuer::default(), Pair::es256("k"), Pair::rs256("k"));
    issuer.publish(&[&rs, &es]);
    let auth = issuer_auth(&issuer, HOUR).await;
    auth.verify(&es.token()).await.unwrap();
    auth.verify(&rs.token()).await.unwrap();
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_are_passed_over() {
    let (issuer, es) = (Issuer::default(), Pair::es256("k"));
    let mut encrypts = json!(Pair::es256("k").jwk);
    encrypts["use"] = json!("enc");
    encrypts["alg"] = json!("ECDH-ES");
    let mut wraps = json!(Pair::es256("k").jwk);
    wraps.as_object_mut().unwrap().remove("alg");
    wraps["key_ops"] = json!(["deriveKey"]);
    let unknown = json!({"kty": "AKP", "kid": "k", "alg": "ML-DSA-44", "pub": "x"});
    issuer.publish_all(json!([encrypts, wraps, unknown, es.jwk]));
    let auth = issuer_auth(&issuer, HOUR).await;
    auth.verify(&es.token()).await.unwrap();
}

#[tokio::test]
async fn without_a_name_every_key_that_fits_is_tried() {
    let (issuer, first, second) = (Issuer::default(), Pair::es256("a"), Pair::es256("b"));
    issuer.publish(&[&first, &second]);
    let auth = issuer_auth(&issuer, HOUR).await;
    auth.verify(&second.token_under(None)).await.unwrap();
    let stranger = Pair::es256("c").token_under(None);
    assert_eq!(
        refusal(&auth, &stranger).await,
        "the token's signature is wrong"
    );
}

#[tokio::test]
async fn keys_without_names_are_tried_for_tokens_that_name_another() {
    let (issuer, old, new) = (Issuer::default(), Pair::es256("x"), Pair::es256("x"));
    let nameless = |pair: &Pair| {
        let mut jwk = json!(pair.jwk);
        jwk.as_object_mut().unwrap().remove("kid");
        json!([jwk])
    };
    issuer.publish_all(nameless(&old));
    let auth = issuer_auth(&issuer, Duration::ZERO).await;
    auth.verify(&old.token()).await.unwrap();
    auth.verify(&old.token_under(None)).await.unwrap();
    // As they have no names, a new one is found by its signature.
    issuer.publish_all(nameless(&new));
    auth.verify(&new.token()).await.unwrap();
    refusal(&auth, &old.token()).await;
}

#[tokio::test]
async fn the_address_of_the_issuer_is_not_told_by_errors() {
    let port = sluice_test_support::free_port();
    let url: Url = format!("http://user:pass@127.0.0.1:{port}/jwks?key=s3cret")
        .parse()
        .unwrap();
    let jwks = Jwks::new(url, HOUR, HOUR).unwrap();
    let error = jwks.0.attempt().await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cret") && !text.contains("pass"), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn critical_extensions_are_refused_as_none_is_known() {
    let claims = json!({"sub": "u", "exp": now() + 60});
    for critical in [vec![], vec!["exp".to_owned()]] {
        let header = Header {
            crit: Some(critical),
            ..Header::default()
        };
        let token = encode(
            &header,
            &claims,
            &EncodingKey::from_secret(SECRET.as_bytes()),
        );
        let reason = refusal(&secret_auth(), &token.unwrap()).await;
        assert!(reason.contains("critical"), "{reason}");
    }
}

#[tokio::test]
async fn scopes_come_as_text_or_list_and_under_either_name() {
    for claims in [
        json!({"scope": "admin docs:read"}),
        json!({"scope": ["admin", "docs:read"]}),
        json!({"scp": ["admin", "docs:read"]}),
        json!({"scp": "admin docs:read"}),
        json!({"scope": "admin", "scp": ["docs:read", "others:read"]}),
    ] {
        let mut claims = claims;
        claims["exp"] = json!(now() + 60);
        let caller = secret_auth().verify(&sign(&claims)).await.unwrap();
        let has = |scope| caller.has(&scope);
        assert!(has(Scope::Admin) && has(Scope::DocsRead), "{claims}");
        assert!(!has(Scope::MetaRead), "{claims}");
    }
    let number = json!({"exp": now() + 60, "scope": 7});
    assert_eq!(
        refusal(&secret_auth(), &sign(&number)).await,
        "the token is malformed"
    );
}

#[tokio::test]
async fn a_minted_token_makes_a_member_of_its_tenant_and_groups() {
    let (auth, groups) = (secret_auth(), ["b", "a", "b"].map(str::to_owned));
    let identity = Identity {
        user: "ann",
        tenant: "acme:eu",
        groups: &groups,
    };
    let token = mint(SECRET, identity, &[Scope::FilesRead], HOUR).unwrap();
    let caller = auth.verify(&token).await.unwrap();
    assert!(caller.has(&Scope::FilesRead) && !caller.has(&Scope::FilesWrite));
    let member = caller.member().unwrap();
    assert_eq!((&*member.tenant, &*member.user), ("acme:eu", "ann"));
    assert_eq!(member.groups, ["a", "b"]);

    let token = mint(SECRET, "ann", &[], HOUR).unwrap();
    let caller = auth.verify(&token).await.unwrap();
    assert_eq!(caller.member().unwrap().tenant, DEFAULT_TENANT);
    assert_eq!(caller.member().unwrap().groups, [""; 0]);
}

#[tokio::test]
async fn claims_that_make_no_member_are_refused_by_name_where_one_is_needed() {
    let auth = secret_auth();
    let member = async |mut claims: Value| {
        claims["exp"] = json!(now() + 60);
        let caller = auth.verify(&sign(&claims)).await.unwrap();
        caller.member().cloned().map_err(|denial| {
            assert!(matches!(denial, Denial::Unauthorized(_)), "{denial:?}");
            denial.to_string()
        })
    };
    for tenant in [
        json!(""),
        json!(7),
        json!(["t"]),
        json!({"t": 1}),
        json!("x".repeat(129)),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a{b"),
        json!("}"),
    ] {
        let reason = member(json!({"sub": "u", "tenant_id": tenant})).await;
        let reason = reason.unwrap_err();
        assert!(reason.starts_with("the tenant_id of"), "{tenant}: {reason}");
    }
    let too_many: Vec<String> = (0..=MAX_GROUPS).map(|group| group.to_string()).collect();
    for groups in [
        json!("staff"),
        json!({}),
        json!(1),
        json!(too_many),
        json!([""]),
        json!([1]),
        json!([null]),
        json!(["a\u{0}"]),
        json!(["x".repeat(257)]),
    ] {
        let reason = member(json!({"sub": "u", "tenant_id": "t", "groups": groups})).await;
        let reason = reason.unwrap_err();
        assert!(reason.contains("the groups of"), "{groups}: {reason}");
    }
    for user in ["x".repeat(257), "a\u{0}".to_owned()] {
        let reason = member(json!({"sub": user, "tenant_id": "t"})).await;
        assert!(reason.unwrap_err().starts_with("the sub of"));
    }
    for (claims, claim) in [
        (json!({"tenant_id": "t"}), "sub"),
        (json!({"sub": "", "tenant_id": "t"}), "sub"),
        (json!({"sub": "u"}), "tenant_id"),
        (json!({"sub": "u", "tenant_id": null}), "tenant_id"),
    ] {
        let reason = member(claims).await.unwrap_err();
        let expected = format!("the token has no {claim}, which file sync needs");
        assert_eq!(reason, expected);
    }
    let most: Vec<String> = (0..MAX_GROUPS).map(|group| group.to_string()).collect();
    let claims = json!({"sub": "u", "tenant_id": "x".repeat(128), "groups": most});
    assert_eq!(member(claims).await.unwrap().groups.len(), MAX_GROUPS);
    let claims = json!({"sub": "u", "tenant_id": "t", "groups": null});
    assert_eq!(member(claims).await.unwrap().groups.len(), 0);
}

#[tokio::test]
async fn a_time_beyond_all_clocks_is_never() {
    let never = sign(&json!({"exp": i64::MAX}));
    let caller = secret_auth().verify(&never).await.unwrap();
    assert_eq!(caller.expires_at(), None);
    let later = now() + 60;
    let caller = secret_auth().verify(&sign(&json!({"exp": later}))).await;
    assert_eq!(caller.unwrap().expires_at(), Some(later));
}

#[tokio::test]
async fn unknown_key_ids_do_not_make_the_api_ask_the_issuer_again_and_again() {
    let (issuer, known) = (Issuer::default(), Pair::es256("known"));
    issuer.publish(&[&known]);
    let auth = issuer_auth(&issuer, HOUR).await;
    for number in 0..5 {
        refusal(&auth, &Pair::es256(&format!("unknown-{number}")).token()).await;
    }
    auth.verify(&known.token()).await.unwrap();
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_key_id_of_another_key_does_not_help() {
    let (issuer, known) = (Issuer::default(), Pair::es256("known"));
    issuer.publish(&[&known]);
    let auth = issuer_auth(&issuer, HOUR).await;
    let token = Pair::es256("known").token();
    assert_eq!(
        refusal(&auth, &token).await,
        "the token's signature is wrong"
    );
    refusal(&auth, &Pair::rs256("known").token()).await;
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_shared_secret() {
    let (issuer, es) = (Issuer::default(), Pair::es256("es"));
    issuer.publish(&[&es]);
    let auth = issuer_auth(&issuer, HOUR).await;
    let public = serde_json::to_vec(&es.jwk).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("es".to_owned());
    let claims = json!({"sub": "u", "scope": "admin", "exp": now() + 60});
    let token = encode(&header, &claims, &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(
        refusal(&auth, &token).await,
        "the token's signature is wrong"
    );
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_told_from_a_bad_token() {
    let port = sluice_test_support::free_port();
    let url = format!("http://127.0.0.1:{port}/jwks").parse().unwrap();
    let auth = auth(AuthConfig {
        jwks_url: Some(url),
        ..AuthConfig::default()
    });
    let error = auth.verify(&Pair::es256("es").token()).await.unwrap_err();
    assert!(matches!(error, Denial::Unavailable(_)), "{error:?}");
}
