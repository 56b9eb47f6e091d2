//! The connection URL. `sslmode` and `sslrootcert` mean what they mean in libpq:
//!
//! | `sslmode` | without a file of root certificates | with one |
//! |---|---|---|
//! | `disable` | no TLS | no TLS |
//! | `allow`, `prefer` | TLS if the server has it; nothing is verified | … the chain is verified |
//! | `require` | TLS; nothing is verified | TLS; the chain is verified |
//! | `verify-ca` | refused | TLS; the chain is verified |
//! | `verify-full` | refused | TLS; chain and host name are verified |
//!
//! The file is `sslrootcert`, or else `~/.postgresql/root.crt` if that exists (not with `allow` and
//! `prefer`). Only its certificates are trusted, all of them. `sslrootcert=system` trusts those of
//! the operating system instead, with `verify-full` only.

use crate::postgres::Error;
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use std::path::{Path, PathBuf};
use tokio_postgres::config::{Config, Host, SslMode};

/// The settings of `url` for the driver.
///
/// # Errors
/// [`Error::Url`], without any part of the URL that may be secret.
pub(super) fn parse(url: &str) -> Result<(Config, MakeTlsConnector), Error> {
    weir_model::pipeline::credentials(url).map_err(|what| Error::Url(format!("it {what}")))?;
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = Vec::new();
    let (mut mode, mut roots) = ("prefer".to_owned(), None);
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", text)) => mode = decode(text),
            Some(("sslrootcert", text)) => roots = Some(decode(text)),
            _ => rest.push(pair),
        }
    }
    let text = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    // The parser's message may quote the text that it cannot parse, including the password.
    let mut config: Config = text
        .parse()
        .map_err(|_| Error::Url("expected postgres://user:password@host:port/database".into()))?;
    if config.get_hosts().is_empty() {
        return Err(Error::Url("it has no host".into()));
    }
    let default = std::env::home_dir().map(|home| home.join(".postgresql/root.crt"));
    let default = default.filter(|file| file.exists());
    let tls = Tls::new(&mode, roots.as_deref(), default.as_deref())?;
    config.ssl_mode(tls.mode);
    Ok((config, MakeTlsConnector::new(tls.connector()?)))
}

/// `postgres at host:port/database`.
pub(super) fn server_name(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres at {host}:{port}/{database}")
}

/// How much of the server's identity is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Chain,
    ChainAndName,
}

/// The certificates that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    mode: SslMode,
    verify: Verify,
    roots: Roots,
}

impl Tls {
    /// `file` is `sslrootcert`, `default` the file that is used without it.
    fn new(mode: &str, file: Option<&str>, default: Option<&Path>) -> Result<Tls, Error> {
        let (ssl_mode, verify) = match mode {
            "disable" => (SslMode::Disable, Verify::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Verify::Nothing),
            "require" => (SslMode::Require, Verify::Nothing),
            "verify-ca" => (SslMode::Require, Verify::Chain),
            "verify-full" => (SslMode::Require, Verify::ChainAndName),
            _ => {
                return Err(Error::Url(
                    "sslmode must be one of disable, allow, prefer, require, verify-ca, \
                     verify-full"
                        .into(),
                ));
            }
        };
        let default = default.filter(|_| ssl_mode == SslMode::Require);
        match (file.map(PathBuf::from).or_else(|| default.map(Path::to_owned)), verify) {
            (Some(file), Verify::ChainAndName) if file == Path::new("system") => {
                Ok(Tls { mode: ssl_mode, verify, roots: Roots::System })
            }
            (Some(file), _) if file == Path::new("system") => Err(Error::Url(format!(
                "sslrootcert=system needs sslmode=verify-full, because sslmode={mode} would accept \
                 every server that has a certificate"
            ))),
            (Some(file), Verify::Nothing) if ssl_mode != SslMode::Disable => {
                Ok(Tls { mode: ssl_mode, verify: Verify::Chain, roots: Roots::File(file) })
            }
            (Some(file), _) => Ok(Tls { mode: ssl_mode, verify, roots: Roots::File(file) }),
            (None, Verify::Nothing) => Ok(Tls { mode: ssl_mode, verify, roots: Roots::System }),
            (None, _) => Err(Error::Url(format!(
                "sslmode={mode} needs the server's root certificate: add sslrootcert=<file>, or \
                 sslmode=verify-full&sslrootcert=system for those of the operating system"
            ))),
        }
    }

    fn connector(&self) -> Result<TlsConnector, Error> {
        let mut builder = TlsConnector::builder();
        builder
            .danger_accept_invalid_certs(self.verify == Verify::Nothing)
            .danger_accept_invalid_hostnames(self.verify != Verify::ChainAndName);
        if let (Roots::File(file), false) = (&self.roots, self.mode == SslMode::Disable) {
            builder.disable_built_in_roots(true);
            let fail = |what: String| Error::Url(format!("sslrootcert {}: {what}", file.display()));
            let pem = std::fs::read(file).map_err(|e| fail(e.to_string()))?;
            let roots = Certificate::stack_from_pem(&pem).map_err(|e| fail(e.to_string()))?;
            if roots.is_empty() {
                return Err(fail("it has no certificate".into()));
            }
            for root in roots {
                builder.add_root_certificate(root);
            }
        }
        builder.build().map_err(|e| Error::Url(format!("cannot set up TLS: {e}")))
    }
}

/// Decodes percent-encoded bytes; what is not encoded stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        match digits.and_then(|digits| hex::decode(digits).ok()) {
            Some(decoded) => {
                bytes.extend(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_quote_the_url() {
        for url in [
            "postgres://weir:hush@db:port/shop",
            "hush",
            "postgres://weir:hush@db/x?hush=1",
            "postgres://weir:hush@db/x?sslmode=hush",
            "postgres://weir:p@hush@db/x",
            "postgres://weir:p@hush/x",
            "postgres://weir:p/hush@db/x",
            "postgres://weir:p?hush@db/x",
            "postgres://weir:p#hush@db/x",
        ] {
            match parse(url) {
                Err(error) => assert!(!error.to_string().contains("hush"), "{error}"),
                Ok((config, _)) => assert_eq!(config.get_hosts(), [Host::Tcp("hush".into())]),
            }
        }
    }

    #[test]
    fn the_password_is_what_stands_before_the_only_at_sign() {
        for (url, password) in [
            ("postgres://weir:p%40ss@db/x", "p@ss"),
            ("postgres://weir:a:b@db/x", "a:b"),
            ("postgres://weir:%2F%3F%23%25@db/x", "/?#%"),
        ] {
            let (config, _) = parse(url).unwrap();
            assert_eq!(config.get_password(), Some(password.as_bytes()), "{url}");
            assert_eq!(server_name(&config), "postgres at db:5432/x");
        }
    }

    #[test]
    fn sslmode_and_sslrootcert_have_libpqs_meaning() {
        use Verify::{Chain, ChainAndName, Nothing};
        let default = Some(Path::new("root.crt"));
        for (mode, file, default, verify) in [
            ("disable", None, None, Some(Nothing)),
            ("disable", Some("file"), None, Some(Nothing)),
            ("allow", None, None, Some(Nothing)),
            ("allow", Some("file"), None, Some(Chain)),
            ("prefer", None, None, Some(Nothing)),
            ("prefer", None, default, Some(Nothing)),
            ("prefer", Some("file"), None, Some(Chain)),
            ("require", None, None, Some(Nothing)),
            ("require", None, default, Some(Chain)),
            ("require", Some("file"), None, Some(Chain)),
            ("require", Some("system"), None, None),
            ("verify-ca", None, None, None),
            ("verify-ca", None, default, Some(Chain)),
            ("verify-ca", Some("file"), None, Some(Chain)),
            ("verify-ca", Some("system"), None, None),
            ("verify-full", None, None, None),
            ("verify-full", None, default, Some(ChainAndName)),
            ("verify-full", Some("file"), None, Some(ChainAndName)),
            ("verify-full", Some("system"), None, Some(ChainAndName)),
            ("on", None, None, None),
        ] {
            let tls = Tls::new(mode, file, default);
            assert_eq!(tls.ok().map(|tls| tls.verify), verify, "{mode} {file:?} {default:?}");
        }
        let full = Tls::new("verify-full", Some("file"), default).unwrap();
        assert_eq!(full.roots, Roots::File("file".into()), "sslrootcert comes first");
    }

    #[test]
    fn a_path_may_be_percent_encoded() {
        assert_eq!(decode("%2Fetc%2fa b%20c%"), "/etc/a b c%");
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
