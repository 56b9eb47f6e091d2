//! The reference of the pipeline file's keys matches the code. After a change of the keys:
//! `WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference`.

use std::path::{Path, PathBuf};
use weir_model::pipeline;

const BEGIN: &str = "<!-- begin of the generated reference -->\n";
const END: &str = "<!-- end of the generated reference -->\n";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines/README.md")
}

#[test]
fn the_reference_page_is_that_of_this_code() {
    let text = std::fs::read_to_string(page()).unwrap();
    let sections = text.split_once(BEGIN).and_then(|(before, rest)| {
        rest.split_once(END).map(|(reference, after)| (before, reference, after))
    });
    let (before, reference, after) =
        sections.expect("the page has the two markers of the generated reference");
    let generated = format!("\n{}\n", pipeline::reference());
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::write(page(), format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
    } else {
        assert!(
            reference == generated,
            "deploy/pipelines/README.md differs from the code; run \
             WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference"
        );
    }
}
