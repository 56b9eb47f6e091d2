//! The pipeline files that weir ships are correct, and name what exists.

use std::path::{Path, PathBuf};
use weir_model::pipeline::{Pipeline, Source};

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines").join(name)
}

#[test]
fn every_deployed_pipeline_reads_without_a_mistake() {
    // the data sets are fetched on demand; their reference tables stand here as headers
    let data = tempfile::tempdir().unwrap();
    std::fs::write(
        data.path().join("airports.csv"),
        "iata,name,city,state,country,latitude,longitude\n",
    )
    .unwrap();
    let env = |name: &str| (name == "WEIR_DATA").then(|| data.path().display().to_string());
    for entry in std::fs::read_dir(deployed("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let pipeline =
            Pipeline::parse(&text, &path, &env).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(
            Some(pipeline.name.as_str()),
            path.file_stem().and_then(|s| s.to_str()),
            "a pipeline is named as its file"
        );
    }
}

#[test]
fn flights_come_from_the_folder_of_the_data_sets() {
    let text = std::fs::read_to_string(deployed("flights.toml")).unwrap();
    let env = |name: &str| (name == "HOME").then(|| "/home/nobody".to_owned());
    let mistakes = Pipeline::parse(&text, &deployed("flights.toml"), &env).unwrap_err();
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    assert_eq!(mistakes.list[0].key, "lookup[0].file");
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("airports.csv"), "").unwrap();
    let env = |name: &str| (name == "WEIR_DATA").then(|| here.path().display().to_string());
    let pipeline = Pipeline::parse(&text, &deployed("flights.toml"), &env).unwrap();
    let Some(Source::File(source)) = pipeline.source else { panic!("flights come from files") };
    assert_eq!(Path::new(&source.path), here.path().join("flights-3m.parquet"));
}
