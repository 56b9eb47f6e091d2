//! Compiles the text of a schema.

use crate::error::with_causes;
use crate::registry::ProtobufText;
use crate::schema::MAX_TEXT_BYTES;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::FileDescriptor;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};
use std::collections::HashMap;
use std::fmt::Display;
use weir_model::expected_panic;

/// The name of the schema itself, which the registry does not say.
const NAME: &str = "schema.proto";
/// Most brackets inside brackets. `protoc` and `protox` have the same limit for messages; the parser
/// of the values of options, in `prost-reflect`, calls itself for each and would exhaust the stack.
const MAX_DEPTH: usize = 31;
/// What Confluent's registry knows without a reference.
const CONFLUENT: [(&str, &str); 2] =
    [("confluent/meta.proto", META), ("confluent/type/decimal.proto", DECIMAL)];
const META: &str = r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#;
const DECIMAL: &str = r#"syntax = "proto3"; package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#;

/// Why a text cannot be compiled.
pub(super) struct Uncompilable {
    pub(super) reason: &'static str,
    pub(super) what: String,
}

fn bad(what: impl Display) -> Uncompilable {
    Uncompilable { reason: "bad_schema", what: what.to_string() }
}

fn too_large(what: String) -> Uncompilable {
    Uncompilable { reason: "schema_too_large", what }
}

/// The file of a schema.
pub(super) fn compile(text: &ProtobufText) -> Result<FileDescriptor, Uncompilable> {
    let mut files = HashMap::new();
    for (name, source) in CONFLUENT {
        files.insert(name.to_owned(), source.to_owned());
    }
    let own = [(NAME.to_owned(), text.text.clone())];
    for (name, source) in text.imports.iter().cloned().chain(own) {
        if source.len() > MAX_TEXT_BYTES {
            let len = source.len();
            return Err(too_large(format!(
                "it is {len} bytes long; the limit is {MAX_TEXT_BYTES}"
            )));
        }
        if depth(&source) > MAX_DEPTH {
            let what = format!("it has more than {MAX_DEPTH} brackets inside one another");
            return Err(too_large(what));
        }
        files.insert(name, source);
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Files(files));
    resolver.add(GoogleFileResolver::new());
    let compiled = expected_panic::catch(move || {
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(NAME).map_err(|error| describe(&error))?;
        Ok::<_, String>(compiler.descriptor_pool().get_file_by_name(NAME))
    });
    match compiled {
        Some(Ok(Some(file))) => Ok(file),
        Some(Err(why)) => Err(bad(format!("not a schema of Protobuf: {why}"))),
        Some(Ok(None)) | None => Err(bad("not a schema of Protobuf: the compiler fails on it")),
    }
}

/// The files of one schema, by name.
struct Files(HashMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let source = self.0.get(name).ok_or_else(|| Error::file_not_found(name))?;
        match descriptor(source) {
            Some(bytes) => {
                let mut file = File::decode_file_descriptor_proto(bytes.as_slice())
                    .map_err(Error::new)?
                    .file_descriptor_proto()
                    .clone();
                file.name = Some(name.into());
                Ok(File::from_file_descriptor_proto(file))
            }
            None => File::from_source(name, source),
        }
    }
}

/// The bytes of a text that is no source but base64 of a compiled file, as Confluent's client for
/// Python registers it; a registry may keep it so.
fn descriptor(text: &str) -> Option<Vec<u8>> {
    match text.contains([';', '{', ' ']) {
        true => None,
        false => BASE64_STANDARD.decode(text.trim()).ok(),
    }
}

/// The error with the line and the column where it is.
fn describe(error: &Error) -> String {
    let mut text = with_causes(error.to_string(), error);
    if error.is_file_not_found() {
        text.push_str("; it is neither a reference of the schema nor one that comes with Protobuf");
    }
    text
}

/// How many brackets are inside one another, outside of comments and quotes.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut rest = source.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' | b'<' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b'>' | b')' => depth = depth.saturating_sub(1),
            b'/' if rest.starts_with(b"/") => rest = behind(rest, |rest| rest.starts_with(b"\n")),
            b'/' if rest.starts_with(b"*") => {
                rest = behind(&rest[1..], |rest| rest.starts_with(b"*/"));
            }
            b'"' | b'\'' => {
                let mut is_escaped = false;
                rest = behind(rest, |rest| {
                    let is_end = !is_escaped && (rest[0] == *byte || rest[0] == b'\n');
                    is_escaped = !is_escaped && rest[0] == b'\\';
                    is_end
                });
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    deepest
}

/// From where it is the end of something.
fn behind(mut rest: &[u8], mut is_end: impl FnMut(&[u8]) -> bool) -> &[u8] {
    while !rest.is_empty() && !is_end(rest) {
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        let open: String = (0..depth).map(|level| format!("message M{level} {{\n")).collect();
        format!("syntax = \"proto3\";\n{open}{}", "}".repeat(depth))
    }

    fn compiled(text: &str) -> Result<FileDescriptor, (&'static str, String)> {
        let text = ProtobufText { text: text.into(), imports: Vec::new() };
        compile(&text).map_err(|why| (why.reason, why.what))
    }

    #[test]
    fn a_text_of_any_depth_is_refused_before_it_exhausts_the_stack() {
        compiled(&nested(MAX_DEPTH)).unwrap();
        for depth in [MAX_DEPTH + 1, 50_000] {
            assert_eq!(compiled(&nested(depth)).unwrap_err().0, "schema_too_large", "{depth}");
        }
        let groups = "message A { optional group B = 1 { ".repeat(20_000);
        assert_eq!(compiled(&groups).unwrap_err().0, "schema_too_large");
        let options = format!("option (a) = {{ b {}", "< b [ ".repeat(20_000));
        assert_eq!(compiled(&options).unwrap_err().0, "schema_too_large");
    }

    #[test]
    fn brackets_in_comments_and_quotes_are_none() {
        assert_eq!(depth("a { b [ c ] } // {{{\n/* {{ } */ \"{{\" '\\'{' {"), 2);
        assert_eq!(depth("/* } */ { \"}\" { '}' { // }\n {"), 4);
        assert_eq!(depth("\"not ended {\n{{"), 2, "a quote ends with its line");
    }

    #[test]
    fn an_import_that_nobody_knows_is_named() {
        let text = "syntax = \"proto3\"; import \"shop/money.proto\"; message M { }";
        let (reason, what) = compiled(text).unwrap_err();
        assert_eq!(reason, "bad_schema");
        assert!(what.contains("shop/money.proto"), "{what}");
    }

    #[test]
    fn a_mistake_in_a_text_is_described() {
        let (reason, what) =
            compiled("syntax = \"proto3\"; message M { strin a = 1; }").unwrap_err();
        assert_eq!(reason, "bad_schema");
        assert!(what.contains("strin"), "{what}");
    }
}
