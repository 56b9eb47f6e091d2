//! Settings of an instance rather than of the pipeline; they come from the environment.

use std::net::SocketAddr;

/// Where the admin pages listen unless `WEIR_LISTEN` says otherwise: they ask for no password, so
/// other machines reach them only where somebody decided that.
const LISTEN: &str = "127.0.0.1:8080";

/// Settings of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `WEIR_LISTEN`: address of the admin pages; default `127.0.0.1:8080`, port 0 takes a free one.
    pub listen: SocketAddr,
    /// `WEIR_INSTANCE`: the stable name of this replica (`enricher-0`), part of its transactional
    /// ids; default: a unique one.
    pub instance: String,
    /// Whether `WEIR_INSTANCE` named the instance, so that the same name comes back after a
    /// restart.
    pub stable: bool,
}

/// An environment variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: `{value}` {what}")]
pub struct Error {
    variable: &'static str,
    value: String,
    what: &'static str,
}

impl Settings {
    /// Reads the process's environment; `service` is the name of the service, for the default
    /// instance name.
    ///
    /// # Errors
    /// A variable whose text has not the right form.
    pub fn from_env(service: &str) -> Result<Settings, Error> {
        Settings::from_variables(service, |name| std::env::var(name).ok())
    }

    fn from_variables(
        service: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, Error> {
        let given = |name: &str| get(name).filter(|v| !v.is_empty());
        let listen = given("WEIR_LISTEN").unwrap_or_else(|| LISTEN.into());
        let listen = listen.parse().map_err(|_| Error {
            variable: "WEIR_LISTEN",
            value: listen,
            what: "is not an address with a port, such as 0.0.0.0:8080 or [::]:8080",
        })?;
        let name = given("WEIR_INSTANCE");
        if let Some(name) = name.as_deref().filter(|n| !is_name(n)) {
            let what = "is not a name of letters, digits, `.`, `_` and `-`, at most 63 long, such \
                as enricher-0";
            return Err(Error { variable: "WEIR_INSTANCE", value: name.into(), what });
        }
        let stable = name.is_some();
        let instance = name.unwrap_or_else(|| unique_instance(service));
        Ok(Settings { listen, instance, stable })
    }
}

/// An instance name that no other instance has; for `weir run` and for replicas without a stable
/// slot.
pub fn unique_instance(service: &str) -> String {
    format!("{service}-{:016x}", crate::backoff::unique())
}

fn is_name(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_variables("sink", |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string())
        })
    }

    #[test]
    fn an_empty_environment_gives_defaults_and_a_unique_instance() {
        let (a, b) = (read(&[]).unwrap(), read(&[("WEIR_INSTANCE", "")]).unwrap());
        assert!(a.listen.ip().is_loopback(), "{}", a.listen);
        assert_eq!(a.listen.port(), 8080);
        assert!(a.instance.starts_with("sink-") && !a.stable);
        assert_ne!(a.instance, b.instance);
    }

    #[test]
    fn the_environment_decides() {
        let settings =
            read(&[("WEIR_LISTEN", "127.0.0.1:0"), ("WEIR_INSTANCE", "sink-3")]).unwrap();
        assert_eq!(
            settings,
            Settings {
                listen: "127.0.0.1:0".parse().unwrap(),
                instance: "sink-3".into(),
                stable: true
            }
        );
    }

    #[test]
    fn unusable_variables_are_named_with_their_value() {
        let text = |variables: &[(&str, &str)]| read(variables).unwrap_err().to_string();
        assert_eq!(
            text(&[("WEIR_LISTEN", "8080")]),
            "WEIR_LISTEN: `8080` is not an address with a port, such as 0.0.0.0:8080 or [::]:8080"
        );
        assert!(
            text(&[("WEIR_INSTANCE", "a b")]).starts_with("WEIR_INSTANCE: `a b` is not a name")
        );
        assert!(text(&[("WEIR_INSTANCE", &"x".repeat(64))]).contains("at most 63"));
    }
}
