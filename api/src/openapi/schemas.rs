//! The shapes of what callers send that their Rust types do not tell: patterns, bounds, and which fields go together.
//!
//! What a schema here allows, the API takes; what it does not allow, the API refuses by field and rule. The types only
//! describe: values are of the types of the handlers.
#![expect(dead_code, reason = "describes values, which are of other types")]

use std::borrow::Cow;

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Object, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// The name of a service, or the id of a document.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_.:-]{1,128}$", example = "doc_1")]
pub(crate) struct Name(String);

/// A user id: 1 to 256 bytes of UTF-8 without control characters.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 256,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
    example = "usr_demo1"
)]
pub(crate) struct UserId(String);

/// A file's id, as Convex has it.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 1024)]
pub(crate) struct FileId(String);

/// A job's id: its queue, then a ULID.
#[derive(ToSchema)]
#[schema(
    pattern = "^[a-z0-9-]{1,64}_[0-7][0-9a-hjkmnp-tv-z]{25}$",
    example = "sync_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct JobId(String);

/// What a caller calls a request, so that it is carried out once.
#[derive(ToSchema)]
#[schema(pattern = "^[ -~]{1,255}$")]
pub(crate) struct IdempotencyKey(String);

/// The same as a header, around which spaces do not count.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,253}[!-~])?$")]
pub(crate) struct IdempotencyHeader(String);

/// Where a listing of documents goes on.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9]{1,19}$")]
pub(crate) struct DocumentsCursor(String);

/// Where a listing of entries goes on.
#[derive(ToSchema)]
#[schema(pattern = "^(live|single)(-[0-9]{1,19}){3}$")]
pub(crate) struct EntriesCursor(String);

/// Entity tags with commas between, or `*` for any (RFC 9110, section 13.1).
#[derive(ToSchema)]
#[schema(pattern = r#"^(\*|(W/)?"[!#-~]{0,40}"( ?, ?(W/)?"[!#-~]{0,40}"){0,9})$"#)]
pub(crate) struct Precondition(String);

/// Which files a sync takes, and what it does when they exceed the limit.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) enum SyncKind {
    AllOne,
    AllTwo,
    MostOne,
    MostTwo,
}

/// What is dropped: entries of the cache, or with them the files.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub(crate) enum InvalidateKind {
    Out,
    Del,
}

/// Where a job is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum JobState {
    Waiting,
    Scheduled,
    Available,
    Running,
    Retrying,
    Completed,
    Cancelled,
    Dead,
}

/// How much a line of a log matters.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// A string out of a list.
fn one_of(values: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(values.iter().copied()))
        .build()
}

/// A shape, or null, which is the same as leaving it out.
fn or_null(schema: impl Into<RefOr<Schema>>) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    let choice = OneOfBuilder::new().item(schema).item(null).build();
    Schema::from(choice).into()
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn any_object() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

fn mutations() -> RefOr<Schema> {
    let mutations = ArrayBuilder::new()
        .items(reference::<Mutation>())
        .min_items(Some(1))
        .build();
    Schema::from(mutations).into()
}

/// An object of these fields and no others. The first ones must be there.
fn fields<const N: usize, const M: usize>(
    required: [(&str, RefOr<Schema>); N],
    optional: [(&str, RefOr<Schema>); M],
) -> Object {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let object = required.into_iter().fold(object, |object, (name, schema)| {
        object.property(name, schema).required(name)
    });
    let properties = optional.into_iter();
    properties
        .fold(object, |object, (name, schema)| {
            object.property(name, schema)
        })
        .build()
}

/// Any value.
fn anything() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .build()
}

/// A JSON Pointer (RFC 6901).
fn pointer() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(/([^~/]|~[01])*)*$"))
        .build()
}

fn whole() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .build()
}

/// One step of a mutate: an object of `op`, `path` and, where the op takes them, `value` or `from`.
pub(crate) struct Mutation;

impl ToSchema for Mutation {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Mutation")
    }
}

impl PartialSchema for Mutation {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).build();
        let step = |ops: &[&str], further: Option<(&str, Object)>| {
            let required = [("op", one_of(ops).into()), ("path", pointer().into())];
            match further {
                Some((name, schema)) => {
                    let [op, path] = required;
                    fields([op, path, (name, schema.into())], [])
                }
                None => fields(required, []),
            }
        };
        let one_of_these = OneOfBuilder::new()
            .description(Some(
                "One step of a mutate. Paths are JSON Pointers (RFC 6901) into `data`.",
            ))
            .item(step(
                &["set", "append", "insert", "test"],
                Some(("value", anything())),
            ))
            .item(step(&["increment"], Some(("value", number))))
            .item(step(&["merge"], Some(("value", any_object()))))
            .item(step(&["unset", "toggle"], None))
            .item(step(&["move", "copy"], Some(("from", pointer()))))
            .build();
        Schema::from(one_of_these).into()
    }
}

/// The shape of one write of a batch: `op` and what the call of that name takes.
pub(crate) struct BatchWrite;

impl ToSchema for BatchWrite {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("BatchWrite")
    }
}

impl PartialSchema for BatchWrite {
    fn schema() -> RefOr<Schema> {
        let op = |ops: &[&str]| ("op", one_of(ops).into());
        let id = || ("id", reference::<Name>());
        let key = || ("idempotencyKey", or_null(reference::<IdempotencyKey>()));
        let revision = || ("expectedRevision", or_null(whole()));
        let expiry = || ("expiresAt", or_null(whole()));
        let data = || ("data", any_object().into());
        let one_of_these = OneOfBuilder::new()
            .description(Some(
                "One write: `op` and what the call of that name takes. Only a `create` may leave out the `id`. For 24 hours, \
                 the same `idempotencyKey` with the same write of this document gets the first one's job.",
            ))
            .item(fields(
                [op(&["create"]), data()],
                [("id", or_null(reference::<Name>())), expiry(), key()],
            ))
            .item(fields(
                [op(&["put", "merge"]), id(), data()],
                [revision(), expiry(), key()],
            ))
            .item(fields(
                [op(&["mutate"]), id(), ("mutations", mutations())],
                [revision(), expiry(), key()],
            ))
            .item(fields(
                [op(&["delete", "restore"]), id()],
                [revision(), key()],
            ))
            .build();
        Schema::from(one_of_these).into()
    }
}
