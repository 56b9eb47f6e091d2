//! Who has to act on an error of the server, by its SQLSTATE: see PostgreSQL's appendix "Error
//! Codes".

use weir_model::fault::Class;

/// What an error code says about the rows that were being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A value of a row. The other rows are not affected.
    Row,
    /// A row or the table; the code does not tell. When the table takes another row of the same
    /// transaction, it is the row.
    RowOrTable,
    /// The table: it no longer is what it was when the sink started. No row is to blame.
    Table,
    /// It passes by itself, or when the database is repaired.
    Environment,
}

impl Origin {
    /// Of the code `sqlstate`. Unknown codes are [`Origin::RowOrTable`].
    pub(crate) fn of(sqlstate: &str) -> Origin {
        match sqlstate {
            // The bytes do not have the column's binary format, so the column does not have the
            // type that it had. Rows with a null in it would still pass.
            "22P03" | "22P04" => Origin::Table,
            // A constraint that is checked at the end of a transaction.
            "40002" => Origin::Row,
            // A text that is too long for the type `name`.
            "42622" => Origin::Row,
            // Not in the required state: of an object, such as a sequence, and not of the server.
            "55000" => Origin::RowOrTable,
            code => match code.get(..2).unwrap_or_default() {
                // data, constraints, cardinality, triggers, RAISE in a function, functions in
                // another language, WITH CHECK OPTION, limits such as the size of an index entry
                // and the depth of JSON
                "22" | "23" | "21" | "09" | "27" | "P0" | "2F" | "38" | "39" | "44" | "54" => {
                    Origin::Row
                }
                // connection, read-only node, transaction timeouts, authentication, conflicts,
                // resources, locks, operator, disk
                "08" | "25" | "28" | "40" | "53" | "55" | "57" | "58" => Origin::Environment,
                _ => Origin::RowOrTable,
            },
        }
    }

    /// The class when no row was tried alone.
    pub(crate) fn class(self) -> Class {
        match self {
            Origin::Row => Class::Record,
            Origin::RowOrTable | Origin::Table => Class::Configuration,
            Origin::Environment => Class::Environment,
        }
    }
}

/// The reason of a dead letter: one of a bounded set, because reasons become metric labels.
pub(crate) fn reason(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "value_too_long",
        "22003" => "number_out_of_range",
        "22007" | "22008" => "datetime_out_of_range",
        "22021" | "22P05" => "character_not_storable",
        "22P02" | "2200N" => "invalid_text",
        "22030" | "22032" => "not_json",
        "23502" => "null_not_allowed",
        "23503" => "foreign_key",
        "23505" => "duplicate_key",
        "23514" => "check_failed",
        "23P01" => "exclusion",
        "P0001" => "raise_exception",
        code if code.starts_with("54") => "limit_exceeded",
        _ => "refused_by_table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_values_have_class_record() {
        for code in ["22001", "22003", "22008", "22021", "23502", "23505", "23514", "54000"] {
            assert_eq!(Origin::of(code).class(), Class::Record, "{code}");
        }
        for code in [
            "08006", "57P01", "57P03", "57014", "53300", "53100", "25006", "25P03", "40001",
            "40P01", "55P03", "28P01", "40003", "58030", "08007",
        ] {
            assert_eq!(Origin::of(code).class(), Class::Environment, "{code}");
        }
        for code in [
            "42501", "42P01", "42703", "42804", "3D000", "3F000", "22P03", "22P04", "0A000",
            "XX001", "",
        ] {
            assert_eq!(Origin::of(code).class(), Class::Configuration, "{code}");
        }
    }
}
