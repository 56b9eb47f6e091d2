//! Columns of a file → fields of the input schema.

use super::short;
use crate::source::Error;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::path::Path;
use weir_codec::{Cell, ColumnBuilder, FieldType, Schema, similar_name};
use weir_model::mistake::Mistake;
use weir_model::pipeline::FileSource;

/// The fields of the input schema, and their names in a file.
pub(super) struct Layout {
    pub(super) codec: Schema,
    schema: SchemaRef,
    pub(super) fields: Vec<Field>,
}

/// One field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) field_type: FieldType,
    nullable: bool,
    /// `source.columns`.
    renamed: Option<String>,
}

impl Layout {
    /// # Errors
    /// A key of `source.columns` that is no field.
    pub(super) fn new(schema: &Schema, config: &FileSource) -> Result<Layout, Vec<Mistake>> {
        let arrow = schema.arrow();
        let fields: Vec<_> = arrow
            .fields()
            .iter()
            .zip(schema.field_types())
            .map(|(field, field_type)| Field {
                name: field.name().clone(),
                field_type,
                nullable: field.is_nullable(),
                renamed: config.columns.get(field.name()).cloned(),
            })
            .collect();
        if let Some(unknown) =
            config.columns.keys().find(|name| fields.iter().all(|f| f.name != **name))
        {
            let what = format!("`{unknown}` is not a field of the input schema");
            return Err(vec![Mistake::new("source.columns", what)]);
        }
        Ok(Layout { codec: schema.clone(), schema: arrow, fields })
    }

    /// For JSON and CSV, which do not say of which type a value is.
    ///
    /// # Errors
    /// A field that cannot be read from them.
    pub(super) fn check_readable(&self) -> Result<(), Error> {
        let unreadable = |field: &Field| {
            let problem = field.field_type.unreadable()?;
            Some(format!("field `{}{}` {}", field.name, problem.path, problem.what))
        };
        let unreadable: Vec<_> = self.fields.iter().filter_map(unreadable).collect();
        match unreadable.is_empty() {
            true => Ok(()),
            false => Err(Error::Unfit(unreadable.join("; "))),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// For each field, its column: by `source.columns`, or else the one whose cleaned name is the
    /// field's. `None`: the file has no such column, and every record gets the default.
    ///
    /// # Errors
    /// A field that has neither a column nor a default, or two columns; and one whose value is in
    /// the name of a folder.
    pub(super) fn match_columns(
        &self,
        path: &Path,
        columns: &[String],
    ) -> Result<Vec<Option<usize>>, String> {
        let file = short(path);
        let absent = || self.fields.iter().filter(|f| f.find(columns) == Found::Nowhere);
        // A default in its place would be another value than the one that the folder names.
        if let Some((field, folder)) = absent().find_map(|f| Some((f, f.folder(path)?))) {
            return Err(format!(
                "{file} has no column for `{}`, only its folder `{folder}` has the value, and names \
                 of folders are not read. Write the column into the files, or remove the field \
                 from the input schema",
                field.column()
            ));
        }
        // Null in every record is most often a misspelled name, so it must be asked for as well.
        let missing: Vec<_> = absent().filter(|f| f.field_type.default().is_none()).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing
                .iter()
                .map(|f| format!("`{}`", f.renamed.as_ref().unwrap_or(&f.name)))
                .collect();
            return Err(format!(
                "{file} has no column for {}; it has {}. Name the column in source.columns, or \
                 give the field a default (`\"default\": null` if it may be null)",
                names.join(", "),
                columns.join(", ")
            ));
        }
        let find = |field: &Field| match field.find(columns) {
            Found::At(index) => Ok(Some(index)),
            Found::Nowhere => Ok(None),
            Found::Twice(a, b) => Err(format!(
                "{file}: columns `{a}` and `{b}` could both be field `{}`; name one of them in \
                 source.columns, or its number, such as `#3`",
                field.name
            )),
        };
        self.fields.iter().map(find).collect()
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows {
            layout: self,
            builders: self
                .fields
                .iter()
                .map(|f| ColumnBuilder::new(f.field_type.arrow()))
                .collect(),
            cells: 0,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Found<'a> {
    At(usize),
    Nowhere,
    Twice(&'a str, &'a str),
}

impl Field {
    fn find<'a>(&self, columns: &'a [String]) -> Found<'a> {
        let number = self.renamed.as_ref().and_then(|name| name.strip_prefix('#')?.parse().ok());
        if let Some(number @ 1usize..) = number.filter(|number| *number <= columns.len()) {
            return Found::At(number - 1);
        }
        let mut fitting = columns.iter().enumerate().filter(|(_, column)| match &self.renamed {
            Some(renamed) => renamed.trim() == column.trim(),
            None => similar_name(column) == similar_name(&self.name),
        });
        match (fitting.next(), fitting.next()) {
            (None, _) => Found::Nowhere,
            (Some((index, _)), None) => Found::At(index),
            (Some((_, a)), Some((_, b))) => Found::Twice(a, b),
        }
    }

    /// The folder of a file whose name is `column=value`, as Hive and Spark have it.
    fn folder(&self, path: &Path) -> Option<String> {
        let names = path.parent()?.components().map(|part| part.as_os_str().to_string_lossy());
        let mut folders = names.filter(|name| {
            name.split_once('=')
                .is_some_and(|(column, _)| similar_name(column) == similar_name(self.column()))
        });
        folders.next().map(|name| name.into_owned())
    }

    /// The column's name, if the pipeline file specifies it.
    pub(super) fn column(&self) -> &str {
        self.renamed.as_ref().unwrap_or(&self.name)
    }

    /// What takes the place of a value that the source does not have at all.
    pub(super) fn absent(&self) -> Result<Cell<'_>, ()> {
        match self.field_type.default() {
            Some(default) => Ok(default.clone()),
            None => self.null(),
        }
    }

    /// A value that the source has, and that is null. A default does not replace it.
    pub(super) fn null(&self) -> Result<Cell<'_>, ()> {
        if self.nullable { Ok(Cell::Null) } else { Err(()) }
    }
}

/// A batch under construction.
pub(super) struct Rows<'a> {
    layout: &'a Layout,
    builders: Vec<ColumnBuilder>,
    cells: usize,
}

impl Rows<'_> {
    /// Adds a record; one cell per field, of the field's type.
    pub(super) fn push(&mut self, cells: &[Cell<'_>]) {
        self.builders.iter_mut().zip(cells).for_each(|(builder, cell)| builder.push(cell));
        self.cells += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.cells
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let columns: Vec<ArrayRef> =
            self.builders.iter_mut().map(ColumnBuilder::finish).collect::<Result<_, _>>()?;
        RecordBatch::try_new(self.layout.schema(), columns)
    }
}
