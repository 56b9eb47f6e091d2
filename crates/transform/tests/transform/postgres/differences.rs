//! The names of the differences on the page.

pub(super) const IEEE: &str = "Doubles are computed as IEEE 754 has it";
pub(super) const WIDE: &str = "Integers are computed in 64 bits";
pub(super) const DIVISION: &str = "A quotient of decimals has twelve decimals";
pub(super) const DIGITS: &str = "ceil and floor of a decimal keep its digits";
pub(super) const UNICODE: &str = "upper, lower and initcap are Unicode's";
pub(super) const DOUBLES: &str = "A double as text always has a fraction or an exponent";
pub(super) const ISO: &str = "Times as text are ISO 8601";
pub(super) const GAP: &str = "A local time that a zone has twice or never fails";
pub(super) const BYTES: &str = "A text as BYTEA is its UTF-8";
pub(super) const ZERO: &str = "chr(0) is a character";
pub(super) const ZEROTH: &str = "split_part fails for part 0 of a null";
pub(super) const STRICT: &str = "to_date and to_timestamp take a text in exactly their format";
pub(super) const BOOLEANS: &str = "A boolean inside concat is true or false";
