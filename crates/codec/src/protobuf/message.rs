//! Reads messages.

use super::plan::{Absent, Field, Form, MessageReader, Value};
use super::scalar::Scalar;
use super::wire::{Wire, WireType};
use crate::cell::Cell;
use crate::datum::{InvalidDatum, grouped, violation};
use std::borrow::Cow;
use std::collections::HashMap;
use weir_model::fault::VALUE_MISSING;

/// Most items of lists and maps in one record.
const MAX_ITEMS: usize = 1 << 20;
/// Most bytes of columns that a record only names: the text of a symbol, the fields of an inner
/// message that are not set. So many for each of its bytes, and so many for any record.
const MAX_NAMED_PER_BYTE: usize = 64;
const MAX_NAMED: usize = 64 << 10;

/// What is left of the limits of a record, so that memory and time are in proportion to its bytes.
pub(super) struct Budget {
    items: usize,
    named: usize,
    num_bytes: usize,
}

impl Budget {
    pub(super) fn of(value: &[u8]) -> Budget {
        let named = MAX_NAMED.saturating_add(value.len().saturating_mul(MAX_NAMED_PER_BYTE));
        Budget { items: MAX_ITEMS, named, num_bytes: value.len() }
    }

    fn item(&mut self) -> Result<(), InvalidDatum> {
        self.items = self.items.checked_sub(1).ok_or_else(|| {
            let text = format!("more than {MAX_ITEMS} items, the limit per record");
            violation("too_many_items", text)
        })?;
        Ok(())
    }

    pub(super) fn fill(&mut self, num_bytes: usize) -> Result<(), InvalidDatum> {
        self.named = self.named.checked_sub(num_bytes).ok_or_else(|| {
            let text = format!(
                "symbols and fields that are not set become too many bytes for a record of {}",
                grouped(self.num_bytes)
            );
            violation("grows_too_much", text)
        })?;
        Ok(())
    }
}

/// The bytes of a message in a value. A message that comes twice is the sum of both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What was found of a field so far.
enum Slot<'a> {
    Unset,
    Value(Cell<'a>),
    Parts(Vec<Part>),
    List(Vec<Cell<'a>>),
    /// The entries, and which of them has a key: the last one counts.
    Map(Vec<(Cow<'a, str>, Cell<'a>)>, HashMap<Cow<'a, str>, usize>),
}

impl MessageReader {
    /// The values of the reader's fields in a message of `value`.
    pub(super) fn read<'a>(
        &'a self,
        value: &'a [u8],
        parts: &[Part],
        budget: &mut Budget,
    ) -> Result<Vec<Cell<'a>>, InvalidDatum> {
        let mut slots: Vec<Slot<'a>> = self.columns.iter().map(|_| Slot::Unset).collect();
        for part in parts {
            let mut wire = Wire::new(value, part.start, part.end);
            while !wire.is_at_end() {
                let (number, wire_type) = wire.tag()?;
                match self.field(number) {
                    fields if fields.is_empty() || wire_type == WireType::EndGroup => {
                        wire.skip(number, wire_type)?;
                    }
                    fields => {
                        let begin = wire.clone();
                        for field in fields {
                            wire = begin.clone();
                            field
                                .read(value, &mut wire, wire_type, &mut slots, budget)
                                .map_err(|violation| violation.within(&field.name))?;
                        }
                    }
                }
            }
        }
        let mut cells = Vec::with_capacity(slots.len());
        for (column, slot) in self.columns.iter().zip(slots) {
            let cell = match (slot, &column.message) {
                (Slot::Unset, _) => column.absent.cell(),
                (Slot::Value(cell), _) => Ok(cell),
                (Slot::Parts(parts), Some(of)) => of.message(value, &parts, budget),
                (Slot::Parts(_), None) => column.absent.cell(),
                (Slot::List(items), _) => Ok(Cell::List(items)),
                (Slot::Map(entries, _), _) => Ok(Cell::Map(entries)),
            };
            cells.push(cell.map_err(|violation| violation.within(&column.name))?);
        }
        Ok(cells)
    }
}

impl Absent {
    pub(super) fn cell<'a>(&self) -> Result<Cell<'a>, InvalidDatum> {
        match self {
            Absent::Is(cell) => Ok(cell.clone()),
            Absent::Missing => {
                Err(violation(VALUE_MISSING, "is not set, has no default and must not be null"))
            }
            Absent::Unfit { reason, what } => Err(violation(reason, what)),
        }
    }
}

impl Field {
    fn read<'a>(
        &'a self,
        value: &'a [u8],
        wire: &mut Wire<'a>,
        wire_type: WireType,
        slots: &mut [Slot<'a>],
        budget: &mut Budget,
    ) -> Result<(), InvalidDatum> {
        for other in &self.excludes {
            slots[*other] = Slot::Unset;
        }
        let Some((column, form)) = &self.target else { return wire.skip(self.number, wire_type) };
        let slot = &mut slots[*column];
        match form {
            Form::One(of) => match of.is_message() {
                true => {
                    let part = self.part(wire, wire_type)?;
                    match slot {
                        Slot::Parts(parts) => parts.push(part),
                        slot => *slot = Slot::Parts(vec![part]),
                    }
                }
                false => *slot = Slot::Value(of.plain(wire, wire_type, budget)?),
            },
            Form::Many(of) => {
                if !matches!(slot, Slot::List(_)) {
                    *slot = Slot::List(Vec::new());
                }
                let Slot::List(items) = slot else { return Ok(()) };
                self.items(of, value, wire, wire_type, items, budget)
                    .map_err(|violation| violation.within(&items.len().to_string()))?;
            }
            Form::Map(key, of, absent) => {
                budget.item()?;
                let part = self.part(wire, wire_type)?;
                let (key, cell) = self.entry(*key, of, absent, value, part, budget)?;
                if !matches!(slot, Slot::Map(..)) {
                    *slot = Slot::Map(Vec::new(), HashMap::new());
                }
                let Slot::Map(entries, known) = slot else { return Ok(()) };
                match known.get(&key) {
                    Some(at) => entries[*at].1 = cell,
                    None => {
                        known.insert(key.clone(), entries.len());
                        entries.push((key, cell));
                    }
                }
            }
        }
        Ok(())
    }

    /// The bytes of a message, in either of its two forms.
    fn part(&self, wire: &mut Wire<'_>, wire_type: WireType) -> Result<Part, InvalidDatum> {
        let (start, end) = match wire_type {
            WireType::Length => wire.length()?,
            WireType::StartGroup => wire.group(self.number)?,
            other => return Err(wire.other(other, WireType::Length)),
        };
        Ok(Part { start, end })
    }

    /// One item, or many in one piece.
    fn items<'a>(
        &self,
        of: &'a Value,
        value: &'a [u8],
        wire: &mut Wire<'a>,
        wire_type: WireType,
        items: &mut Vec<Cell<'a>>,
        budget: &mut Budget,
    ) -> Result<(), InvalidDatum> {
        if of.is_message() {
            budget.item()?;
            let part = self.part(wire, wire_type)?;
            items.push(of.message(value, &[part], budget)?);
            return Ok(());
        }
        if wire_type != WireType::Length || of.wire_type() == WireType::Length {
            budget.item()?;
            items.push(of.plain(wire, wire_type, budget)?);
            return Ok(());
        }
        let (start, end) = wire.length()?;
        let mut packed = Wire::new(value, start, end);
        while !packed.is_at_end() {
            budget.item()?;
            items.push(of.plain(&mut packed, of.wire_type(), budget)?);
        }
        Ok(())
    }

    /// An entry of a map is a message with the key as field 1 and the value as field 2.
    fn entry<'a>(
        &self,
        key_type: Scalar,
        of: &'a Value,
        absent: &'a Absent,
        value: &'a [u8],
        part: Part,
        budget: &mut Budget,
    ) -> Result<(Cow<'a, str>, Cell<'a>), InvalidDatum> {
        let mut wire = Wire::new(value, part.start, part.end);
        let (mut key, mut cell, mut parts) = (key_type.zero(), None, Vec::new());
        while !wire.is_at_end() {
            match wire.tag()? {
                (1, wire_type) if wire_type == key_type.wire_type() => {
                    key = key_type.read(&mut wire).map_err(|v| v.within("key"))?;
                }
                (1, wire_type) => {
                    return Err(wire.other(wire_type, key_type.wire_type()).within("key"));
                }
                (2, wire_type) if of.is_message() => parts.push(self.part(&mut wire, wire_type)?),
                (2, wire_type) => cell = Some(of.plain(&mut wire, wire_type, budget)?),
                (number, wire_type) => wire.skip(number, wire_type)?,
            }
        }
        let key: Cow<'a, str> = key.into_text();
        let cell = match cell {
            Some(cell) => Ok(cell),
            None if of.is_message() => of.message(value, &parts, budget),
            None => absent.cell(),
        };
        let cell = cell.map_err(|violation| violation.within(&key))?;
        Ok((key, cell))
    }
}
