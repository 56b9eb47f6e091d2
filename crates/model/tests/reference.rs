//! The references of the pipeline file's keys and of the casts match the code. After a change:
//! `WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference`.

use std::path::Path;
use weir_model::cast;
use weir_model::pipeline::{self, Source, Target};

const BEGIN: &str = "<!-- begin of the generated reference -->\n";
const END: &str = "<!-- end of the generated reference -->\n";

/// The part of a page between the two markers is `generated`.
fn is_that_of_this_code(page: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = std::fs::read_to_string(&path).expect("the page can be read");
    let sections = text.split_once(BEGIN).and_then(|(before, rest)| {
        rest.split_once(END).map(|(reference, after)| (before, reference, after))
    });
    let (before, reference, after) =
        sections.expect("the page has the two markers of the generated reference");
    let generated = format!("\n{generated}\n");
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{generated}{END}{after}"))
            .expect("the page can be written");
    } else {
        assert!(
            reference == generated,
            "{page} differs from the code; run \
             WEIR_WRITE_REFERENCE=1 cargo test -p weir-model --test reference"
        );
    }
}

#[test]
fn the_reference_page_is_that_of_this_code() {
    is_that_of_this_code("deploy/pipelines/README.md", &pipeline::reference());
}

#[test]
fn the_page_of_the_casts_is_that_of_this_code() {
    is_that_of_this_code("schemas/README.md", &format!("{}\n", cast::reference()));
}

#[test]
fn every_kind_has_a_section_and_every_key_a_text() {
    let page = pipeline::reference();
    let kinds = Source::KINDS.iter().map(|kind| format!("**`[source]`**, `type = \"{kind}\"`: "));
    let sinks = Target::KINDS.iter().map(|kind| format!("**`[[sink]]`**, `type = \"{kind}\"`: "));
    for heading in kinds.chain(sinks) {
        let section = page.split(&heading).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section begins with {heading}"));
        let keys: Vec<_> = section
            .split("\n**`[")
            .next()
            .into_iter()
            .flat_map(str::lines)
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert!(keys.len() > 1, "{heading} has no keys of its own");
        for key in keys {
            let text = key.trim_end_matches('|').rsplit(" | ").next().unwrap();
            assert!(text.trim().len() > 10, "no text in {key}");
        }
    }
}
