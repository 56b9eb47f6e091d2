//! The page about columns is that of the code. After a change:
//! `WEIR_WRITE_REFERENCE=1 cargo test --workspace --test reference`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use weir_store::postgres::reference::reference;

const BEGIN: &str = "<!-- begin of the generated reference of columns -->\n";
const END: &str = "<!-- end of the generated reference of columns -->\n";

#[test]
fn the_page_of_the_columns_is_that_of_this_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (page, after) = rest.split_once(END).unwrap();
    let generated = format!("\n{}\n\n", reference());
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
    } else {
        assert!(
            page == generated,
            "schemas/README.md differs from the code; run \
             WEIR_WRITE_REFERENCE=1 cargo test --workspace --test reference"
        );
    }
}
