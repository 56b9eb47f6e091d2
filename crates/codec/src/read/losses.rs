//! Which records of a writer cannot be read, although others of the same schema can.

use super::{Action, Branch, RecordReader, ValueReader};
use crate::columns::shortened;
use crate::problem::Problem;
use crate::read::compile::child;

impl RecordReader {
    /// The values of the writer that the reader does not take, in the order of the writer's fields;
    /// `path` is that of the record, or empty.
    pub(crate) fn losses(&self, path: &str) -> Vec<Problem> {
        let mut losses = Vec::new();
        for step in &self.steps {
            let path = child(path, &step.name);
            match &step.action {
                Action::Skip(_) => {}
                Action::Read(_, reader) => reader.losses(&path, &mut losses),
                Action::ReadAll(readers) => {
                    readers.iter().for_each(|(_, reader)| reader.losses(&path, &mut losses));
                }
            }
        }
        losses
    }
}

impl ValueReader {
    fn losses(&self, path: &str, losses: &mut Vec<Problem>) {
        let mut lose = |what: String| losses.push(Problem::new(path, what));
        match self {
            ValueReader::Optional { nullable, other, .. } => {
                if !nullable {
                    lose(NULL.into());
                }
                other.losses(path, losses);
            }
            ValueReader::Union(branches) => branches.iter().for_each(|branch| match branch {
                Branch::Read(reader) => reader.losses(path, losses),
                Branch::Null => losses.push(Problem::new(path, NULL)),
                Branch::Unreadable(_, problems) => losses.extend(problems.iter().cloned()),
            }),
            ValueReader::Enum(table, writer) => {
                let unknown: Vec<&str> = (writer.list.iter().zip(table))
                    .filter(|(_, known)| known.is_none())
                    .map(|(symbol, _)| symbol.as_str())
                    .collect();
                if !unknown.is_empty() {
                    let unknown = shortened(unknown.join(", "));
                    lose(format!("may be {unknown}, which the reader does not know"));
                }
            }
            ValueReader::Member(_, reader, _) => reader.losses(path, losses),
            ValueReader::Record(record) => losses.extend(record.losses(path)),
            ValueReader::Array(item, _) => item.losses(&format!("{path}[]"), losses),
            ValueReader::Map(value) => value.losses(&format!("{path}{{}}"), losses),
            ValueReader::IntToFloat | ValueReader::LongToFloat | ValueReader::LongToDouble => {
                lose("may be a number of more digits than the reader's type holds".into());
            }
            ValueReader::LongDividedBy { to, .. } => lose(format!("may be no whole {to}")),
            ValueReader::MicrosToMillis => lose("may be no whole milliseconds".into()),
            ValueReader::LongTimes(_) => lose("may be a time beyond the reader's unit".into()),
            ValueReader::BytesToText => lose("may be no text".into()),
            ValueReader::TextToUuid => lose("may be no uuid".into()),
            ValueReader::Decimal(decimal) if decimal.narrows() => {
                lose(format!("may not fit {}", decimal.to));
            }
            _ => {}
        }
    }
}

const NULL: &str = "may be null, which the reader does not allow";
