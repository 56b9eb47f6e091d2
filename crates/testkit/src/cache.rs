//! What is fetched from public registries, once, into a cache outside the checkout: the components'
//! programs and the data sets.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const POM: &str = include_str!("../../../deploy/pom.xml");
const DATA: &str = "vega-datasets@3.2.1";

/// The components' programs, ready to start.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Kafka's class path, for `java -cp`.
    pub fn kafka_class_path(&self) -> String {
        format!("{}/kafka/libs/*", self.folder.display())
    }

    /// The registry's jar.
    pub fn registry_jar(&self) -> PathBuf {
        self.folder
            .join("registry")
            .join(format!("apicurio-registry-app-{}-runner.jar", version("registry")))
    }

    /// PostgreSQL's folder with `bin`, `lib` and `share`.
    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

/// The components' programs of the versions in `deploy/pom.xml`, fetched by Maven when they are not
/// yet there.
///
/// # Errors
/// Names the program to install when `java`, `mvn`, `tar` or `xz` is missing.
pub fn programs() -> Result<Programs> {
    require_java()?;
    let name = format!(
        "stack-kafka-{}-registry-{}-postgres-{}",
        version("kafka"),
        version("registry"),
        version("postgres")
    );
    Ok(Programs { folder: cached(&name, fetch_programs)? })
}

/// The folder of the public data sets (`flights-3m.parquet`, `airports.csv`, `birdstrikes.csv` …),
/// fetched by npm when not yet there.
///
/// # Errors
/// Names the program to install when `npm` or `tar` is missing.
pub fn data() -> Result<PathBuf> {
    let folder = cached(&DATA.replace('@', "-"), |folder| {
        run(
            Command::new("npm").args(["pack", "--silent", DATA]).current_dir(folder),
            "npm (Debian: apt-get install npm)",
        )?;
        let archive = find(folder, "tgz")?;
        run(Command::new("tar").arg("-xzf").arg(&archive).current_dir(folder), "tar")?;
        Ok(fs::remove_file(archive)?)
    })?;
    Ok(folder.join("package/data"))
}

/// Where everything lives: `$XDG_CACHE_HOME/weir`, or `~/.cache/weir`.
pub fn folder() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => std::env::home_dir()
            .context("no home directory; set XDG_CACHE_HOME to a folder for downloads")?
            .join(".cache"),
    };
    Ok(base.join("weir"))
}

/// `name` in the cache, filled by `fill` when absent. A lock lets concurrent callers fetch once;
/// the rename at the end means that a folder with the final name is complete.
pub fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let (cache, target) = (folder()?, folder()?.join(name));
    if target.exists() {
        return Ok(target);
    }
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock().context("lock the cache")?;
    if !target.exists() {
        eprintln!("fetching {name} into {} …", cache.display());
        let part = cache.join(format!("{name}.part"));
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        fs::create_dir_all(&part)?;
        fill(&part).with_context(|| format!("fetch {name}"))?;
        fs::rename(&part, &target)?;
    }
    Ok(target)
}

fn fetch_programs(folder: &Path) -> Result<()> {
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM)?;
    let target = format!("-Dstack.folder={}", folder.display());
    run(
        Command::new("mvn").args(["-q", "-B", "-f"]).arg(&pom).args(["package", &target]),
        "Maven (Debian: apt-get install maven)",
    )?;
    let archive = find(&folder.join("postgres"), "txz")?;
    let unpack = "tar and xz (Debian: apt-get install tar xz-utils)";
    run(
        Command::new("tar").arg("-xJf").arg(&archive).current_dir(folder.join("postgres")),
        unpack,
    )?;
    Ok(fs::remove_file(archive)?)
}

fn version(component: &str) -> &'static str {
    let tag = format!("<{component}.version>");
    POM.split_once(&tag)
        .and_then(|(_, rest)| rest.split_once('<'))
        .map_or("unknown", |(version, _)| version)
}

fn require_java() -> Result<()> {
    const NEED: &str =
        "a Java runtime, 17 or later (Debian: apt-get install openjdk-17-jre-headless)";
    let mut command = Command::new("java");
    let output = command
        .arg("-version")
        .output()
        .with_context(|| format!("java cannot be run; install {NEED}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = text
        .split('"')
        .nth(1)
        .and_then(|version| version.split('.').next())
        .and_then(|major| major.parse::<u32>().ok());
    match number {
        Some(major) if major < 17 => bail!("java is version {major}; install {NEED}"),
        _ => Ok(()),
    }
}

fn find(folder: &Path, ending: &str) -> Result<PathBuf> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let found = paths.into_iter().find(|path| path.extension() == Some(OsStr::new(ending)));
    found.with_context(|| format!("no *.{ending} in {}", folder.display()))
}

fn run(command: &mut Command, needs: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().with_context(|| format!("{program} cannot be run; install {needs}"))?;
    if !output.status.success() {
        let words =
            [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)]
                .concat();
        bail!(
            "{program} failed ({}); it needs {needs} and access to its public registry:\n{}",
            output.status,
            words.trim()
        );
    }
    Ok(())
}
