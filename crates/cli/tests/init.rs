//! A first pipeline that `weir init` guesses loads the file that it was guessed from.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use weir_testkit::{Database, Stack, random_name};

/// As a German spreadsheet writes it, in windows-1252.
const SALES: &str = "Nr;Kunde;Betrag;Tag;PLZ\r\n\
    1;\"Müller; Söhne\";1.234,50;31.01.2025;01234\r\n\
    2;Östergård;-0,5;;99999\r\n\
    3;Ömer;12;01.02.2025;04109\r\n";

#[test]
fn a_guessed_pipeline_loads_the_file_with_exact_values() {
    let (stack, name) = (Stack::shared(), random_name("sales"));
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ..) = encoding_rs::WINDOWS_1252.encode(SALES);
    std::fs::write(folder.path().join("sales.csv"), bytes).unwrap();
    let url = stack.create_database("init").unwrap();
    let weir = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .current_dir(folder.path())
            .envs(stack.env())
            .env("WEIR_POSTGRES", &url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = weir(&["init", "sales.csv", "--name", &name]);
    assert_eq!(code, Some(0), "{text}");
    for said in ["windows-1252", "%d.%m.%Y", "decimal(10,2)", "`01234` is a code", "a sample"] {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }
    let (code, again) = weir(&["init", "sales.csv", "--name", &name]);
    assert!(code == Some(1) && again.contains("nothing was written"), "{again}");

    let file = format!("{name}.toml");
    let (code, text) = weir(&["check", &file]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = weir(&["run", &file, "--until-done"]);
    assert_eq!(code, Some(0), "{text}");
    let rows = format!(
        "SELECT nr, kunde, betrag, tag, plz FROM public.{} ORDER BY nr",
        name.replace('-', "_")
    );
    let rows: Vec<String> = Database::connect(&url)
        .unwrap()
        .texts(&rows)
        .unwrap()
        .into_iter()
        .map(|row| row.into_iter().map(|v| v.unwrap_or("∅".into())).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        [
            "1 Müller; Söhne 1234.50 2025-01-31 01234",
            "2 Östergård -0.50 ∅ 99999",
            "3 Ömer 12.00 2025-02-01 04109",
        ]
    );
}
