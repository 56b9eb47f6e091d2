//! The README's configuration reference says what the code does. After a change of the keys:
//! `WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference`.

use std::path::{Path, PathBuf};
use weir_model::pipeline::reference;

const BEGIN: &str = "<!-- begin of the generated reference -->\n";
const END: &str = "<!-- end of the generated reference -->\n";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")
}

#[test]
fn the_readme_holds_the_reference_of_this_code() {
    let text = std::fs::read_to_string(readme()).unwrap();
    let place = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(held, after)| (before, held, after)));
    let (before, held, after) =
        place.expect("README.md holds the two markers of the generated reference");
    let generated = format!("\n{}\n", reference());
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::write(readme(), format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
    } else {
        assert!(
            held == generated,
            "README.md differs from the code; run WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference"
        );
    }
}
