//! What may be asked of a document, whose parts go together in more ways than a Rust type's.

use std::borrow::Cow;

use serde_json::json;
use sluice_store::documents::{self, DocumentsConfig};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Object, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::{IdempotencyKey, Name};

/// A string out of a list.
pub(super) fn one_of(values: &[&str]) -> Object {
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

/// An integer from 0 on.
fn whole_number(max: u64) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(max as usize))
        .build()
}

/// What the mutations of one call are.
pub(crate) struct Mutations;

impl Mutations {
    /// As the API takes them that is set to take so many.
    pub(crate) fn at_most(limit: usize) -> Schema {
        ArrayBuilder::new()
            .items(reference::<Mutation>())
            .min_items(Some(1))
            .max_items(Some(limit))
            .build()
            .into()
    }
}

impl ToSchema for Mutations {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Mutations")
    }
}

impl PartialSchema for Mutations {
    fn schema() -> RefOr<Schema> {
        Mutations::at_most(DocumentsConfig::default().max_mutations).into()
    }
}

/// From when on a document is to be gone.
pub(crate) struct ExpiryTime;

impl ToSchema for ExpiryTime {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ExpiryTime")
    }
}

impl PartialSchema for ExpiryTime {
    fn schema() -> RefOr<Schema> {
        let mut time = whole_number(documents::ExpiryTime::MAX);
        time.description = Some("Milliseconds since 1970, in the future.".to_owned());
        time.examples = vec![json!(1_795_289_394_786_u64)];
        Schema::from(time).into()
    }
}

/// A revision that a document must be at: by number, or as in its `ETag`, which also says which of
/// the documents that had its id one after another.
pub(crate) struct Revision;

impl ToSchema for Revision {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Revision")
    }
}

impl PartialSchema for Revision {
    fn schema() -> RefOr<Schema> {
        let version = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$"));
        let either = OneOfBuilder::new()
            .item(whole_number(u64::MAX))
            .item(version.build())
            .description(Some(
                "A revision, or one with the document's time of creation, as in its `ETag`.",
            ))
            .examples([json!(7), json!("7-1795289394786")]);
        Schema::from(either.build()).into()
    }
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
        let revision = || ("expectedRevision", or_null(reference::<Revision>()));
        let expiry = || ("expiresAt", or_null(reference::<ExpiryTime>()));
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
                [op(&["mutate"]), id(), ("mutations", reference::<Mutations>())],
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
