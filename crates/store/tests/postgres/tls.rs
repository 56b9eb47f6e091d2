//! Which servers a connection trusts, by `sslmode` and `sslrootcert`, against a server with TLS.

use native_tls::{Identity, TlsAcceptor};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_model::secret::Secret;
use weir_store::postgres::Store;

/// What the server says once the connection is encrypted. It is not a real PostgreSQL.
const TRUSTED: &str = "the handshake is over";

/// Two authorities, and a certificate for `localhost` that the first one signed.
struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    fn new() -> Certificates {
        let folder = std::env::temp_dir().join(weir_testkit::random_name("tls"));
        std::fs::create_dir(&folder).unwrap();
        let certificates = Certificates { folder };
        for authority in ["ca", "other"] {
            certificates.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} \
                 -keyout {authority}.key -out {authority}.crt"
            ));
        }
        std::fs::write(certificates.file("names"), "subjectAltName=DNS:localhost").unwrap();
        certificates.openssl(
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        );
        certificates.openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.crt",
        );
        let bundle = ["other.crt", "ca.crt"].map(|name| certificates.read(name)).concat();
        std::fs::write(certificates.file("bundle.crt"), bundle).unwrap();
        std::fs::write(certificates.file("empty.crt"), "").unwrap();
        certificates
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).unwrap()
    }

    /// Accepts connections until the test ends; returns the port.
    fn serve(&self) -> u16 {
        let identity =
            Identity::from_pkcs8(&self.read("server.crt"), &self.read("server.key")).unwrap();
        let acceptor = TlsAcceptor::new(identity).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // The request for TLS, its answer, and after the handshake the start-up message.
                if stream.read_exact(&mut [0; 8]).is_err() || stream.write_all(b"S").is_err() {
                    continue;
                }
                let Ok(mut encrypted) = acceptor.accept(stream) else { continue };
                drop(encrypted.read(&mut [0; 1024]));
                let fields = format!("SFATAL\0VFATAL\0C28000\0M{TRUSTED}\0\0");
                let length = (fields.len() as u32 + 4).to_be_bytes();
                let answer = [b"E", &length[..], fields.as_bytes()].concat();
                drop(encrypted.write_all(&answer).and_then(|()| encrypted.shutdown()));
            }
        });
        port
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn is_trusted(port: u16, host: &str, mode: &str, roots: Option<&Path>) -> bool {
    let roots = roots.map(|file| format!("&sslrootcert={}", file.display())).unwrap_or_default();
    let url = format!("postgres://weir:hush@{host}:{port}/weir?sslmode={mode}{roots}");
    match Store::new(&Secret::new(url), "test", 1) {
        Err(_) => false,
        Ok(store) => store.ping().await.unwrap_err().to_string().contains(TRUSTED),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_as_libpq_trusts_it() {
    let certificates = Certificates::new();
    let port = certificates.serve();
    // The certificate is for `localhost` only.
    let (right, wrong) = ("localhost", "127.0.0.1");
    for (mode, roots, host, trusted) in [
        ("prefer", None, right, true),
        ("prefer", Some("ca.crt"), wrong, true),
        ("prefer", Some("other.crt"), right, false),
        ("require", None, right, true),
        ("require", None, wrong, true),
        ("require", Some("ca.crt"), right, true),
        ("require", Some("ca.crt"), wrong, true),
        ("require", Some("bundle.crt"), right, true),
        ("require", Some("other.crt"), right, false),
        ("require", Some("empty.crt"), right, false),
        ("require", Some("missing.crt"), right, false),
        ("verify-ca", None, right, false),
        ("verify-ca", Some("ca.crt"), right, true),
        ("verify-ca", Some("ca.crt"), wrong, true),
        ("verify-ca", Some("bundle.crt"), wrong, true),
        ("verify-ca", Some("other.crt"), right, false),
        ("verify-full", None, right, false),
        ("verify-full", Some("ca.crt"), right, true),
        ("verify-full", Some("ca.crt"), wrong, false),
        ("verify-full", Some("bundle.crt"), right, true),
        ("verify-full", Some("bundle.crt"), wrong, false),
        ("verify-full", Some("other.crt"), right, false),
    ] {
        let file = roots.map(|name| certificates.file(name));
        let found = is_trusted(port, host, mode, file.as_deref()).await;
        assert_eq!(found, trusted, "sslmode={mode} {roots:?} {host}");
    }
    let system = Path::new("system");
    assert!(!is_trusted(port, right, "verify-full", Some(system)).await, "no public authority");
    assert!(!is_trusted(port, right, "require", Some(system)).await);
}
