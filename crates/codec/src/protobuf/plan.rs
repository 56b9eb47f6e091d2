//! A message of the writer and a record of the reader, matched once.

use super::json::JsonForm;
use super::message::{Budget, Part};
use super::scalar::{Raw, Scalar, int32};
use super::well_known::WellKnown;
use super::wire::{Wire, WireType};
use crate::avro_type::{AvroType, Field as ReaderField, Symbols, Wide};
use crate::cell::Cell;
use crate::datum::{InvalidDatum, violation};
use crate::field_type::FieldType;
use crate::problem::Problem;
use crate::read::{Problems, bytes_of, child, default_of};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Declared};
use std::collections::HashMap;
use std::sync::Arc;

/// Reads a message into the columns of a record.
#[derive(Debug)]
pub(super) struct MessageReader {
    /// By number.
    fields: Vec<Field>,
    /// One for each of the reader's fields.
    pub(super) columns: Vec<Column>,
    /// The bytes of columns that an empty message fills.
    num_bytes: usize,
}

/// A field of the reader.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// What an unset field is.
    pub(super) absent: Absent,
    /// How to read its message, if it is one.
    pub(super) message: Option<Arc<Value>>,
}

/// A field of the writer that matters.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// The column and how it is filled; `None` if the field only ends the life of others.
    pub(super) target: Option<(usize, Form)>,
    /// The columns of the other fields of its oneof, of which the last one counts.
    pub(super) excludes: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Form {
    One(Arc<Value>),
    Many(Value),
    /// The key, the value, and the value of an entry without one.
    Map(Scalar, Value, Absent),
}

/// What stands for a field that is not set.
#[derive(Debug)]
pub(super) enum Absent {
    Is(Cell<'static>),
    Missing,
    /// It has a default, which the reader's type does not take.
    Unfit {
        reason: String,
        what: String,
    },
}

/// How one value is read.
#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar, AvroType),
    Enum(EnumReader),
    Message(MessageReader),
    /// A message of a single field 1.
    Wrapper(Box<Value>),
    WellKnown(WellKnown, AvroType),
    Json(JsonForm),
}

/// The symbol that the reader sees, by number; `None` where the reader has none.
#[derive(Debug)]
pub(super) struct EnumReader {
    name: String,
    symbols: HashMap<i32, (String, Option<String>)>,
}

impl MessageReader {
    /// `path` is that of the record, or empty.
    pub(super) fn new(
        message: &MessageDescriptor,
        reader: &[ReaderField],
        path: &str,
    ) -> Result<MessageReader, Problems> {
        let (mut fields, mut columns, mut num_bytes) = (Vec::new(), Vec::new(), 0);
        let mut problems = Problems::new();
        for (column, field) in reader.iter().enumerate() {
            let path = child(path, &field.name);
            let made = match find(message, field) {
                Some(found) => form(&found, &field.avro_type, &path).map(|form| {
                    let absent = absent_of(&found, &form, field);
                    let message = match &form {
                        Form::One(value) if value.is_message() => Some(value.clone()),
                        _ => None,
                    };
                    fields.push(Field::new(&found, Some((column, form))));
                    Column { name: field.name.clone(), absent, message }
                }),
                None => default_of(field, &path).map_err(|problem| vec![problem]).map(|default| {
                    let absent = Absent::Is(default);
                    Column { name: field.name.clone(), absent, message: None }
                }),
            };
            match made {
                Ok(column) => {
                    if let Absent::Is(cell) = &column.absent {
                        num_bytes += bytes_of(cell, &field.avro_type);
                    }
                    columns.push(column);
                }
                Err(mut more) => problems.append(&mut more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        exclude(message, &mut fields);
        fields.sort_by_key(|field| field.number);
        Ok(MessageReader { fields, columns, num_bytes })
    }

    /// The fields with this number: mostly one or none.
    #[inline]
    pub(super) fn field(&self, number: u32) -> &[Field] {
        let from = self.fields.partition_point(|field| field.number < number);
        let len = self.fields[from..].iter().take_while(|field| field.number == number).count();
        &self.fields[from..from + len]
    }
}

impl Field {
    fn new(field: &FieldDescriptor, target: Option<(usize, Form)>) -> Field {
        Field { number: field.number(), name: field.name().into(), target, excludes: Vec::new() }
    }
}

/// Adds what members of a oneof mean for one another.
fn exclude(message: &MessageDescriptor, fields: &mut Vec<Field>) {
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let members: Vec<FieldDescriptor> = oneof.fields().collect();
        let is_member = |number: u32| members.iter().any(|member| member.number() == number);
        let columns: Vec<(u32, usize)> = fields
            .iter()
            .filter(|field| is_member(field.number))
            .filter_map(|field| Some((field.number, field.target.as_ref()?.0)))
            .collect();
        if columns.is_empty() {
            continue;
        }
        for member in &members {
            if !fields.iter().any(|field| field.number == member.number()) {
                fields.push(Field::new(member, None));
            }
        }
        for field in fields.iter_mut().filter(|field| is_member(field.number)) {
            let others = columns.iter().filter(|(number, _)| *number != field.number);
            field.excludes = others.map(|(_, column)| *column).collect();
        }
    }
}

/// The writer's field has the reader's name, or that in JSON, or one of the reader's aliases.
fn find(message: &MessageDescriptor, reader: &ReaderField) -> Option<FieldDescriptor> {
    let mut names = std::iter::once(&reader.name).chain(&reader.aliases);
    names.find_map(|name| {
        let by_name = message.get_field_by_name(name);
        by_name.or_else(|| message.get_field_by_json_name(name))
    })
}

fn refuse<T>(path: &str, from: impl std::fmt::Display, to: &AvroType) -> Result<T, Problems> {
    let what = format!("is {from}; it cannot be read as {}", to.optional().0);
    Err(vec![Problem::new(path, what)])
}

fn form(field: &FieldDescriptor, to: &AvroType, path: &str) -> Result<Form, Problems> {
    let (plain, _) = to.optional();
    let kind = field.kind();
    match (&kind, plain) {
        (Kind::Message(entry), AvroType::Map(values)) if field.is_map() => {
            let key = entry.map_entry_key_field().kind();
            let Some(key) = Scalar::of(&key) else { return refuse(path, "a map", to) };
            let value = entry.map_entry_value_field().kind();
            let value = value_of(&value, values, &format!("{path}{{}}"))?;
            let absent = value.zero();
            Ok(Form::Map(key, value, absent))
        }
        _ if field.is_map() => refuse(path, "a map", to),
        (kind, AvroType::Array(items)) if field.is_list() => {
            Ok(Form::Many(value_of(kind, items, &format!("{path}[]"))?))
        }
        (kind, _) if field.is_list() => refuse(path, format!("repeated {}", name_of(kind)), to),
        (kind, _) => Ok(Form::One(Arc::new(value_of(kind, to, path)?))),
    }
}

fn name_of(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().into(),
        Kind::Enum(of) => of.full_name().into(),
        kind => Scalar::of(kind).map_or("", Scalar::name).into(),
    }
}

fn value_of(kind: &Kind, to: &AvroType, path: &str) -> Result<Value, Problems> {
    let (plain, _) = to.optional();
    let plain = match plain.wide() {
        Some(Wide::Number(number)) => number,
        Some(Wide::Members(_)) => {
            let what = format!("is {}; it could be any of {plain}", name_of(kind));
            return Err(vec![Problem::new(path, what)]);
        }
        None => plain,
    };
    match (kind, plain) {
        (Kind::Message(message), AvroType::Record(record)) => {
            MessageReader::new(message, &record.fields, path).map(Value::Message)
        }
        (Kind::Message(message), plain) => well_known(message, plain, path),
        (Kind::Enum(of), AvroType::Enum(symbols)) => {
            Ok(Value::Enum(EnumReader::new(of, Some(symbols))))
        }
        (Kind::Enum(of), AvroType::String) => Ok(Value::Enum(EnumReader::new(of, None))),
        (kind, plain) => match Scalar::of(kind) {
            Some(scalar) if FieldType::of_type(plain).takes(&scalar.arrow()) => {
                Ok(Value::Scalar(scalar, plain.clone()))
            }
            _ => refuse(path, name_of(kind), plain),
        },
    }
}

/// A message that comes with Protobuf or Confluent's registry, as a value.
fn well_known(message: &MessageDescriptor, to: &AvroType, path: &str) -> Result<Value, Problems> {
    let name = message.full_name();
    let is_wrapper = name.starts_with("google.protobuf.") && name.ends_with("Value");
    if let Some(json) = JsonForm::of(name) {
        return match to {
            AvroType::String => Ok(Value::Json(json)),
            to => refuse(path, name, to),
        };
    }
    if let Some(field) = message.get_field(1).filter(|_| is_wrapper) {
        let inner = value_of(&field.kind(), to, path).or_else(|_| refuse(path, name, to))?;
        return Ok(Value::Wrapper(Box::new(inner)));
    }
    match WellKnown::of(name).filter(|known| known.becomes(to)) {
        Some(known) => Ok(Value::WellKnown(known, to.clone())),
        None => refuse(path, name, to),
    }
}

/// What stands for a field that is not set. A field that does not say whether it is set has the
/// default of its type.
fn absent_of(field: &FieldDescriptor, form: &Form, reader: &ReaderField) -> Absent {
    let value = match form {
        Form::Many(_) => return Absent::Is(Cell::List(Vec::new())),
        Form::Map(..) => return Absent::Is(Cell::Map(Vec::new())),
        Form::One(value) => value,
    };
    if !field.supports_presence() {
        return value.zero();
    }
    if field.is_required() {
        return Absent::Missing;
    }
    if field.field_descriptor_proto().default_value.is_some() {
        return value.declared(&field.default_value());
    }
    match default_of(reader, "") {
        _ if reader.avro_type.is_nullable() => Absent::Is(Cell::Null),
        Ok(default) => Absent::Is(default),
        Err(_) => Absent::Missing,
    }
}

impl Absent {
    fn of(cell: Result<Cell<'_>, InvalidDatum>) -> Absent {
        match cell {
            Ok(cell) => Absent::Is(cell.into_owned()),
            Err(violation) => {
                let fault = violation.into_fault();
                let what = format!("the default of the field: {}", fault.detail);
                Absent::Unfit { reason: fault.reason, what }
            }
        }
    }
}

impl Value {
    /// Whether it is a message, which a value has in parts.
    pub(super) fn is_message(&self) -> bool {
        !matches!(self, Value::Scalar(..) | Value::Enum(_))
    }

    pub(super) fn wire_type(&self) -> WireType {
        match self {
            Value::Scalar(scalar, _) => scalar.wire_type(),
            Value::Enum(_) => WireType::Varint,
            _ => WireType::Length,
        }
    }

    /// Reads a value that is no message.
    #[inline]
    pub(super) fn plain<'a>(
        &'a self,
        wire: &mut Wire<'a>,
        wire_type: WireType,
        budget: &mut Budget,
    ) -> Result<Cell<'a>, InvalidDatum> {
        if wire_type != self.wire_type() {
            return Err(wire.other(wire_type, self.wire_type()));
        }
        match self {
            Value::Scalar(scalar, to) => scalar.read(wire)?.cell(to),
            Value::Enum(symbols) => {
                let start = wire.position();
                let symbol = symbols.symbol(int32(wire.varint()?, start)?)?;
                budget.fill(symbol.len())?;
                Ok(Cell::Text(symbol.into()))
            }
            _ => Ok(Cell::Null),
        }
    }

    /// Reads a message.
    pub(super) fn message<'a>(
        &'a self,
        value: &'a [u8],
        parts: &[Part],
        budget: &mut Budget,
    ) -> Result<Cell<'a>, InvalidDatum> {
        match self {
            Value::Message(message) => {
                budget.fill(message.num_bytes)?;
                message.read(value, parts, budget).map(Cell::Record)
            }
            Value::Wrapper(of) => {
                let mut cell = None;
                for part in parts {
                    let mut wire = Wire::new(value, part.start, part.end);
                    while !wire.is_at_end() {
                        match wire.tag()? {
                            (1, wire_type) => {
                                cell = Some(of.plain(&mut wire, wire_type, budget)?);
                            }
                            (number, wire_type) => wire.skip(number, wire_type)?,
                        }
                    }
                }
                cell.map_or_else(|| of.zero().cell(), Ok)
            }
            Value::WellKnown(known, to) => known.read(value, parts)?.cell(to),
            Value::Json(form) => {
                let json = form.read(value, parts, budget)?;
                Ok(Cell::Text(json.to_string().into()))
            }
            Value::Scalar(..) | Value::Enum(_) => Ok(Cell::Null),
        }
    }

    /// The default of its type.
    fn zero(&self) -> Absent {
        match self {
            Value::Scalar(scalar, to) => Absent::of(scalar.zero().cell(to)),
            Value::Enum(symbols) => Absent::of(symbols.symbol(0).map(|s| Cell::Text(s.into()))),
            _ => Absent::Missing,
        }
    }

    /// The default that the schema of the writer says.
    fn declared(&self, default: &Declared) -> Absent {
        match (self, default) {
            (Value::Enum(symbols), Declared::EnumNumber(number)) => {
                Absent::of(symbols.symbol(*number).map(|symbol| Cell::Text(symbol.into())))
            }
            (Value::Scalar(_, to), default) => match Raw::of(default) {
                Some(raw) => Absent::of(raw.cell(to)),
                None => Absent::Missing,
            },
            _ => Absent::Missing,
        }
    }
}

impl EnumReader {
    /// Symbols that the reader does not have become the reader's default.
    fn new(of: &EnumDescriptor, reader: Option<&Arc<Symbols>>) -> EnumReader {
        let mut symbols = HashMap::new();
        // As they are declared: of several names for a number the first is its name.
        for value in &of.enum_descriptor_proto().value {
            let name = value.name().to_owned();
            let seen = match reader {
                None => Some(name.clone()),
                Some(reader) if reader.list.contains(&name) => Some(name.clone()),
                Some(reader) => reader.default.clone(),
            };
            // Of several names for a number the first that the reader knows.
            let known: &mut (String, Option<String>) =
                symbols.entry(value.number()).or_insert_with(|| (name.clone(), None));
            let is_better = reader.is_some_and(|reader| reader.list.contains(&name))
                && known.1.as_ref() == reader.and_then(|reader| reader.default.as_ref());
            if known.1.is_none() || is_better {
                known.1 = seen;
            }
        }
        EnumReader { name: of.full_name().into(), symbols }
    }

    fn symbol(&self, number: i32) -> Result<&str, InvalidDatum> {
        match self.symbols.get(&number) {
            Some((_, Some(symbol))) => Ok(symbol),
            Some((name, None)) => {
                let text = format!("the schema has no symbol `{name}` of {}", self.name);
                Err(violation("unknown_symbol", text))
            }
            None => {
                let text = format!("{} has no symbol with the number {number}", self.name);
                Err(violation("unknown_symbol", text))
            }
        }
    }
}
