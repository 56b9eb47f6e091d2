//! Where the files are: a folder, or a prefix in an S3 bucket. Both are an
//! [`object_store::ObjectStore`], with one difference: in a folder everything that is reported as
//! written was flushed to the disk first, the folder's entry as well.

use crate::files::error::{configuration, failed};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use weir_model::pipeline;

/// Of one request, and of all attempts at it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: usize = 5;

/// See the module.
#[derive(Clone)]
pub(crate) struct Location {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// In the store; names in the log are relative to it.
    prefix: String,
    /// As in the pipeline file, without a slash at the end.
    name: String,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
}

impl Location {
    /// No IO.
    ///
    /// # Errors
    /// The address or the credentials cannot be used.
    pub(crate) fn open(files: &pipeline::Files) -> Result<Location, crate::Error> {
        let name = files.path.trim_end_matches('/').to_owned();
        match files.path.strip_prefix("s3://") {
            Some(rest) => Location::s3(files, rest, name),
            None => Location::folder(&files.path),
        }
    }

    fn folder(path: &str) -> Result<Location, crate::Error> {
        let absolute = std::fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path).map(|path| without_parents(&path)))
            .map_err(|e| configuration(format!("{path} is no folder: {e}")))?;
        let prefix = Path::from_absolute_path(&absolute)
            .map_err(|e| configuration(format!("{path} is no folder: {e}")))?;
        let store = LocalFileSystem::new().with_fsync(true);
        Ok(Location {
            store: Arc::new(store),
            prefix: prefix.as_ref().to_owned(),
            name: absolute.to_string_lossy().into_owned(),
            folder: Some(absolute),
        })
    }

    fn s3(files: &pipeline::Files, rest: &str, name: String) -> Result<Location, crate::Error> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let client = ClientOptions::new().with_allow_http(true).with_timeout(REQUEST_TIMEOUT);
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(client)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: MAX_RETRIES,
                retry_timeout: RETRY_TIMEOUT,
            });
        if let Some(endpoint) = &files.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &files.region {
            builder = builder.with_region(region);
        }
        if let (Some(id), Some(secret)) = (&files.access_key_id, &files.secret_access_key) {
            builder =
                builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose());
        }
        let store = builder.build().map_err(|e| failed("opening the bucket", &name, &e))?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Location { store: Arc::new(store), prefix, name, folder: None })
    }

    /// The root of any store.
    #[cfg(test)]
    pub(crate) fn of(store: Arc<dyn ObjectStore>) -> Location {
        Location { store, prefix: String::new(), name: "memory:".into(), folder: None }
    }

    /// For people and for tools: the folder, or `s3://bucket/prefix`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The whole name of a file, for people and for tools.
    pub(crate) fn full(&self, relative: &str) -> String {
        format!("{}/{relative}", self.name)
    }

    /// The place of a file whose name is relative to the location.
    pub(crate) fn at(&self, relative: &str) -> Result<Path, crate::Error> {
        let whole = match (self.prefix.as_str(), relative) {
            ("", relative) => relative.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, relative) => format!("{prefix}/{relative}"),
        };
        Path::parse(&whole).map_err(|e| failed("finding a file", &self.name, &e.into()))
    }

    /// The name relative to the location.
    pub(crate) fn relative<'p>(&self, path: &'p Path) -> Option<&'p str> {
        let path = path.as_ref();
        if self.prefix.is_empty() {
            return Some(path);
        }
        path.strip_prefix(self.prefix.as_str())?.strip_prefix('/')
    }

    /// Creates the folder.
    ///
    /// # Errors
    /// It cannot be created.
    pub(crate) fn create(&self) -> Result<(), crate::Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder)
            .map_err(|e| configuration(format!("{} cannot be created: {e}", folder.display())))
    }

    /// Where a folder keeps a file while it is being written: what is left there when its writer is
    /// killed. Relative names with size and time; the store does not list them.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn unfinished(&self) -> std::io::Result<Vec<(String, std::fs::Metadata)>> {
        let mut found = Vec::new();
        let mut folders: Vec<PathBuf> = self.folder.iter().cloned().collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let path = entry.path();
                let relative = self.folder.as_ref().and_then(|root| path.strip_prefix(root).ok());
                let relative = relative.and_then(|path| path.to_str());
                if let Some(relative) = relative.filter(|name| finished_name(name).is_some()) {
                    found.push((relative.to_owned(), entry.metadata()?));
                }
            }
        }
        Ok(found)
    }

    /// Deletes a file, also one that [`Location::unfinished`] has found; no error if it is gone.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub(crate) async fn delete(&self, relative: &str) -> Result<(), crate::Error> {
        if let (Some(folder), Some(_)) = (&self.folder, finished_name(relative)) {
            return match std::fs::remove_file(folder.join(relative)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(configuration(format!("deleting {}: {error}", self.full(relative))))
                }
                _ => Ok(()),
            };
        }
        match self.store.delete(&self.at(relative)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("deleting a file", &self.name, &error)),
        }
    }

    /// Whether it is a folder that does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| !folder.exists())
    }
}

/// The name that a file will have that is being written into a folder; `None` for all others.
pub(crate) fn finished_name(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('#')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// A path that does not exist yet, without `..`.
fn without_parents(path: &std::path::Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_folder_are_relative_to_it_and_keep_their_escapes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/../out put/é");
        let location = Location::folder(&path.to_string_lossy()).unwrap();
        assert!(location.name().ends_with("/out put/é"), "{}", location.name());
        for name in ["x.parquet", "country=%2E%2E%2Fx/y.csv", "country=caf%C3%A9/y.csv"] {
            let at = location.at(name).unwrap();
            assert_eq!(location.relative(&at), Some(name));
        }
        assert!(location.at("../x").is_err());
    }
}
