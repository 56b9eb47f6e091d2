//! How a section of the pipeline file is declared: once, as a struct with its keys. The reader and
//! the reference both follow the declaration.

use super::names::Check;
use super::reader::Table;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The value of a key.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text that passes a check.
    Text(Check),
    /// The same; neither value nor source text is ever shown.
    Secret(Check),
    /// A file that exists, relative to the pipeline file.
    File,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// A number between 0 and 1.
    Share,
    /// Milliseconds between two bounds, written as "250ms", "5s", "2m".
    Duration(u64, u64),
    /// Bytes between two bounds, written as an integer or as "16MiB".
    Size(u64, u64),
    /// true or false.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// One text or a list of texts, each of which passes a check.
    Texts(Check),
    /// The same; neither values nor source texts are ever shown.
    SecretTexts(Check),
    /// A table of texts: a check for its keys, one for its values.
    Map(Check, Check),
    /// The same, whose values may be secret, and whose dots need no quotes.
    Secrets,
}

/// What an absent key means.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// It is a mistake.
    Refused,
    /// The same as if this had been written.
    Is(&'static str),
    /// This text of the reference.
    Means(&'static str),
}

/// One key.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Absent,
    /// The unit of a number; empty where the value carries it or has none.
    pub(super) unit: &'static str,
    /// One line of Markdown for the reference.
    pub(super) doc: &'static str,
}

/// One table of the file, or a list of tables.
pub(super) struct Section {
    /// As in `[name]`; empty for the top of the file.
    pub(super) name: &'static str,
    /// Written `[[name]]`: any number of them.
    pub(super) list: bool,
    /// The kind that these keys belong to: `type = "…"`.
    pub(super) kind: Option<&'static str>,
    /// One line of Markdown for the reference.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

impl Section {
    /// The key of this name; a declared field has one.
    pub(super) fn key(&self, name: &str) -> &Key {
        const NONE: Key =
            Key { name: "", kind: Kind::Flag, absent: Absent::Is("false"), unit: "", doc: "" };
        self.keys.iter().find(|key| key.name == name).unwrap_or(const { &NONE })
    }
}

/// The head of a section: `[name]`.
pub(super) const fn table(name: &'static str) -> Section {
    Section { name, list: false, kind: None, doc: "", keys: &[] }
}

/// The head of a section that is a list: `[[name]]`.
pub(super) const fn list(name: &'static str) -> Section {
    Section { list: true, ..table(name) }
}

/// The head of a section whose keys belong to a kind: `[name]` with `type = "kind"`.
pub(super) const fn table_of(name: &'static str, kind: &'static str) -> Section {
    Section { kind: Some(kind), ..table(name) }
}

/// The same for a list.
pub(super) const fn list_of(name: &'static str, kind: &'static str) -> Section {
    Section { list: true, ..table_of(name, kind) }
}

/// Declares a section: its struct, its keys (each is a field of the same name) and how it is read.
///
/// ```text
/// section! {
///     /// The text of the reference.
///     pub struct Api = table_of("source", "api"), with [TYPE] {
///         /// Must be there, and an address.
///         url: String = Text(names::address), Refused, "";
///         /// 10 when it is left out.
///         page_size: u32 = Integer(1, 1000), Is("10"), "records";
///         /// Left out, it has another meaning than any value.
///         token: Option<Secret> = Secret(names::any), Means("no authentication"), "";
///     }
/// }
/// ```
///
/// The head is [`table`] for `[name]`, [`list`] for `[[name]]`, and [`table_of`] or [`list_of`] for
/// one kind of either; `with` are keys that all kinds share. `Kind` says which values are allowed,
/// [`Absent`] what a missing key means. A path that is read as text has to be joined to
/// `table.folder()` in [`Finish`]; [`Kind::File`] does that itself.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $vis:vis struct $name:ident = $head:expr, with [$($shared:expr),*] {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:expr, $absent:expr, $unit:literal; )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $vis $field: $type, )+
        }

        impl $name {
            pub(in crate::pipeline) const SECTION: $crate::pipeline::section::Section =
                $crate::pipeline::section::Section {
                    doc: concat!($($section_doc),+),
                    keys: &[
                        $($shared,)*
                        $($crate::pipeline::section::Key {
                            name: stringify!($field),
                            kind: $kind,
                            absent: $absent,
                            unit: $unit,
                            doc: concat!($($doc),+),
                        },)+
                    ],
                    ..$head
                };

            /// The fields, empty where there was a mistake.
            pub(in crate::pipeline) fn read(
                table: &$crate::pipeline::reader::Table<'_>,
            ) -> $name {
                $name {
                    $( $field: $crate::pipeline::section::Value::read(
                        table,
                        Self::SECTION.key(stringify!($field)),
                    ), )+
                }
            }
        }
    };
}

/// Declares the kinds of a section with `type = "…"`: an enum with a variant per kind, whose value
/// is the kind's own section.
macro_rules! kinds {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident: $behaviour:ident {
            $( $variant:ident($config:ty) = $kind:literal, )+
        }
    ) => {
        // A pipeline has a few of them at most, so their size does not matter.
        #[allow(clippy::large_enum_variant)]
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub enum $name {
            $( #[doc = concat!("`type = \"", $kind, "\"`.")] $variant($config), )+
        }

        impl $name {
            /// Every kind, as in `type = "…"`.
            pub const KINDS: &[&str] = &[$($kind),+];

            pub(in crate::pipeline) const SECTIONS: &[&$crate::pipeline::section::Section] =
                &[$(&<$config>::SECTION),+];

            /// Reads the keys that belong to `kind`; `None` when there is no such kind.
            pub(in crate::pipeline) fn read(
                kind: &str,
                table: &$crate::pipeline::reader::Table<'_>,
            ) -> Option<$name> {
                match kind {
                    $( $kind => {
                        table.only(&<$config>::SECTION, &[]);
                        let mut config = <$config>::read(table);
                        $crate::pipeline::section::Finish::finish(&mut config, table);
                        Some($name::$variant(config))
                    } )+
                    _ => None,
                }
            }

            /// The value of `type`.
            pub fn kind(&self) -> &'static str {
                match self { $( $name::$variant(_) => $kind, )+ }
            }

            /// What all kinds have in common.
            pub fn config(&self) -> &dyn $behaviour {
                match self { $( $name::$variant(config) => config, )+ }
            }

            /// The same, to be changed.
            pub fn config_mut(&mut self) -> &mut dyn $behaviour {
                match self { $( $name::$variant(config) => config, )+ }
            }
        }
    };
}

/// A type that is chosen by one of a few words; the first one where there was a mistake.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $crate::pipeline::section::Value for $name {
            fn read(
                table: &$crate::pipeline::reader::Table<'_>,
                key: &$crate::pipeline::section::Key,
            ) -> $name {
                let word = table.text(key);
                let all = [$(($word, $name::$variant)),+];
                all.iter().find(|(known, _)| *known == word).unwrap_or(&all[0]).1
            }
        }
    };
}

pub(super) use {choice, kinds, section};

/// What is left to do for a kind after its keys were read: check those that depend on one another,
/// and complete the values.
pub(super) trait Finish {
    fn finish(&mut self, table: &Table<'_>);
}

/// A type that a key can be read into; empty where there was a mistake.
pub(super) trait Value {
    fn read(table: &Table<'_>, key: &Key) -> Self;
}

impl Value for String {
    fn read(table: &Table<'_>, key: &Key) -> String {
        table.text(key)
    }
}

impl Value for Option<String> {
    fn read(table: &Table<'_>, key: &Key) -> Option<String> {
        table.maybe_text(key)
    }
}

impl Value for Secret {
    fn read(table: &Table<'_>, key: &Key) -> Secret {
        table.secret(key)
    }
}

impl Value for Option<Secret> {
    fn read(table: &Table<'_>, key: &Key) -> Option<Secret> {
        table.maybe_text(key).map(Secret::new)
    }
}

impl Value for PathBuf {
    fn read(table: &Table<'_>, key: &Key) -> PathBuf {
        table.file(key)
    }
}

impl Value for Option<PathBuf> {
    fn read(table: &Table<'_>, key: &Key) -> Option<PathBuf> {
        table.has(key).then(|| table.file(key))
    }
}

impl Value for Duration {
    fn read(table: &Table<'_>, key: &Key) -> Duration {
        table.duration(key)
    }
}

impl Value for f64 {
    fn read(table: &Table<'_>, key: &Key) -> f64 {
        table.share(key)
    }
}

impl Value for bool {
    fn read(table: &Table<'_>, key: &Key) -> bool {
        table.flag(key)
    }
}

impl Value for Vec<String> {
    fn read(table: &Table<'_>, key: &Key) -> Vec<String> {
        table.texts(key)
    }
}

impl Value for Vec<Secret> {
    fn read(table: &Table<'_>, key: &Key) -> Vec<Secret> {
        table.texts(key).into_iter().map(Secret::new).collect()
    }
}

impl Value for BTreeMap<String, String> {
    fn read(table: &Table<'_>, key: &Key) -> BTreeMap<String, String> {
        table.map(key)
    }
}

impl Value for BTreeMap<String, Secret> {
    fn read(table: &Table<'_>, key: &Key) -> BTreeMap<String, Secret> {
        table.secrets(key)
    }
}

/// Bounds are checked where the number is read; one outside is a mistake already.
macro_rules! whole_numbers {
    ($($type:ty),+) => {
        $(impl Value for $type {
            fn read(table: &Table<'_>, key: &Key) -> $type {
                <$type>::try_from(table.integer(key)).unwrap_or_default()
            }
        })+
    };
}

whole_numbers!(i32, u32, u64);

/// A count or a size in bytes.
impl Value for usize {
    fn read(table: &Table<'_>, key: &Key) -> usize {
        match key.kind {
            Kind::Size(..) => table.size(key),
            _ => usize::try_from(table.integer(key)).unwrap_or_default(),
        }
    }
}
