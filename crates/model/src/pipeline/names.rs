//! What names and addresses may look like. Each check returns the rest of a sentence that begins
//! with the value.

/// The rest of a sentence such as "`X` is not …".
pub(super) type Check = fn(&str) -> Result<(), String>;

/// PostgreSQL cuts identifiers after this many bytes.
const IDENTIFIER_BYTES: usize = 63;
/// Longest topic name that Kafka accepts.
const TOPIC_BYTES: usize = 249;

/// Words that neither SQL dialect takes as a bare name: they would have to be quoted in every
/// query.
const RESERVED: &str = " all analyse analyze and any array as asc asymmetric both case cast check \
    collate column constraint create current_date current_role current_time current_timestamp \
    current_user cross default deferrable desc distinct do else end except false fetch for \
    foreign from full grant group having in initially inner intersect into is join lateral \
    leading left like limit localtime localtimestamp natural not null offset on only or order \
    outer placing primary references returning right select session_user some symmetric table \
    then to trailing true union unique user using values variadic when where window with ";

fn verdict(good: bool, otherwise: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(otherwise.into()) }
}

fn shaped(text: &str, first: fn(char) -> bool, rest: fn(char) -> bool) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(first) && chars.all(rest)
}

/// Anything.
pub(super) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// Anything but blanks.
pub(super) fn filled(text: &str) -> Result<(), String> {
    verdict(!text.trim().is_empty(), "is empty")
}

/// One character that is no end of a line.
pub(super) fn character(text: &str) -> Result<(), String> {
    let mut chars = text.chars();
    let good =
        matches!((chars.next(), chars.next()), (Some(c), None) if !['\n', '\r'].contains(&c));
    verdict(good, "is not one character")
}

/// The same, or nothing.
pub(super) fn character_or_none(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { character(text) }
}

/// Names of pipelines and sinks: parts of group ids, transactional ids and paths.
pub(super) fn name(text: &str) -> Result<(), String> {
    let good = shaped(
        text,
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    );
    verdict(good, "is not a name: lower-case letters, digits and hyphens, a letter first")?;
    length(text)
}

/// Names of reject rules: the reason in the dead letters and a metric label.
pub(super) fn rule(text: &str) -> Result<(), String> {
    let good = shaped(
        text,
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
    );
    verdict(
        good,
        "is not a rule's name: lower-case letters, digits and underscores, a letter first",
    )?;
    length(text)
}

/// Names of lookups: tables in the pipeline's SQL.
pub(super) fn lookup(text: &str) -> Result<(), String> {
    rule(text).map_err(|what| what.replace("rule's", "table's"))?;
    verdict(text != "input", "is the table of the records themselves; choose another name")?;
    unreserved(text)
}

fn length(text: &str) -> Result<(), String> {
    let bytes = text.len();
    verdict(
        bytes <= IDENTIFIER_BYTES,
        &format!("has {bytes} bytes; at most {IDENTIFIER_BYTES} are allowed"),
    )
}

fn unreserved(text: &str) -> Result<(), String> {
    let word = format!(" {} ", text.to_lowercase());
    verdict(!RESERVED.contains(&word), "is a reserved word of SQL; choose another name")
}

/// One PostgreSQL identifier.
pub(super) fn identifier(text: &str) -> Result<(), String> {
    let good = shaped(
        text,
        |c| c.is_ascii_alphabetic() || c == '_',
        |c| c.is_ascii_alphanumeric() || c == '_',
    );
    verdict(good, "is not an identifier: letters, digits and underscores, no digit first")?;
    length(text)
}

/// `table` or `schema.table`.
pub(super) fn table(text: &str) -> Result<(), String> {
    let (schema, table) = split_table(text);
    for part in [schema, table] {
        identifier(part).and_then(|()| unreserved(part)).map_err(|what| {
            if part == text { what } else { format!("is invalid: `{part}` {what}") }
        })?;
    }
    let system = schema.starts_with("pg_") || schema == "information_schema";
    verdict(!system, "is in a schema that belongs to PostgreSQL itself")?;
    verdict(
        schema != "weir",
        "is in the schema `weir`, where weir keeps positions; choose another schema",
    )
}

/// Schema and table; the schema is `public` when the text names none.
pub(super) fn split_table(text: &str) -> (&str, &str) {
    text.split_once('.').unwrap_or(("public", text))
}

/// What the address of a folder in S3 begins with.
pub(super) const S3: &str = "s3://";

/// A folder, or `s3://bucket/prefix`.
pub(super) fn files_path(text: &str) -> Result<(), String> {
    filled(text)?;
    let Some(rest) = text.strip_prefix(S3) else {
        return verdict(!text.contains("://"), "is neither a folder nor s3://bucket/prefix");
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let good = (3..=63).contains(&bucket.len())
        && shaped(
            bucket,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c),
        );
    verdict(
        good,
        "is not s3://bucket/prefix: a bucket has lower-case letters, digits and hyphens",
    )?;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let parts = || prefix.split('/').filter(|_| !prefix.is_empty());
    verdict(
        parts().all(|part| !part.is_empty() && part != "." && part != ".."),
        "has a part that is empty, `.` or `..`",
    )?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/!-_.*'()=+,@".contains(c);
    verdict(prefix.chars().all(plain), "has a character that S3 advises against in names")
}

/// A column, `day(column)` or `hour(column)`.
pub(super) fn partition_by(text: &str) -> Result<(), String> {
    let column = match text.split_once('(') {
        Some((function, rest)) if matches!(function.trim_end(), "day" | "hour") => {
            rest.strip_suffix(')').unwrap_or_default().trim()
        }
        _ => text,
    };
    identifier(column)
        .map_err(|_| "is not a column of the output schema, day(column) or hour(column)".into())
}

/// `append`, and why there is nothing else.
pub(super) fn append_only(text: &str) -> Result<(), String> {
    verdict(
        text == "append",
        "is not possible: a file is never changed, so no row in it can be updated or deleted; \
         type = \"files\" has mode = \"append\" only",
    )
}

/// A PostgreSQL type such as `varchar(50)` or `timestamp with time zone`; whether it exists is
/// checked against the database.
pub(super) fn column_type(text: &str) -> Result<(), String> {
    let element = text.strip_suffix("[]").unwrap_or(text);
    let bare = match element.split_once('(') {
        None => element.to_owned(),
        Some((before, rest)) => {
            let Some((sizes, after)) = rest.split_once(')') else {
                return Err("is not a type: the bracket is not closed".into());
            };
            let whole = sizes.split(',').all(|n| n.trim().parse::<u32>().is_ok());
            verdict(whole, "is not a type: the brackets must hold whole numbers")?;
            format!("{before}{after}")
        }
    };
    let good = shaped(
        &bare,
        |c| c.is_ascii_alphabetic(),
        |c| c.is_ascii_alphanumeric() || c == ' ' || c == '_' || c == '.',
    );
    verdict(good, "is not a type such as varchar(50) or numeric(10, 2)")
}

/// A topic that Kafka accepts and that neither Kafka nor weir uses itself.
pub(super) fn topic(text: &str) -> Result<(), String> {
    let good = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && text != "."
        && text != "..";
    verdict(good, "is not a topic name: letters, digits, dots, underscores and hyphens")?;
    let bytes = text.len();
    verdict(
        bytes <= TOPIC_BYTES,
        &format!("has {bytes} bytes; Kafka takes topic names of at most {TOPIC_BYTES}"),
    )?;
    verdict(
        !text.starts_with("__"),
        "begins with two underscores, as Kafka's own topics do; choose another name",
    )?;
    verdict(
        text != "weir.positions",
        "is where weir keeps the producers' positions; choose another name",
    )
}

/// `host:port,host:port`.
pub(super) fn brokers(text: &str) -> Result<(), String> {
    verdict(
        text.split(',').all(|b| authority(b.trim(), true)),
        "is not a list of brokers such as host:9092,host:9092",
    )
}

/// `http://host:port/path`.
pub(super) fn http_url(text: &str) -> Result<(), String> {
    url(text, &["http://", "https://"])
        .map(|_| ())
        .ok_or_else(|| "is not an address such as http://host:8081".into())
}

/// `postgres://user:password@host:port/database`.
pub(super) fn postgres_url(text: &str) -> Result<(), String> {
    credentials(text)?;
    let path = url(text, &["postgres://", "postgresql://"]);
    let database =
        path.map(|p| p.split('?').next().unwrap_or("").trim_start_matches('/').to_owned());
    verdict(
        database.is_some_and(|d| !d.is_empty()),
        "is not an address such as postgres://user:password@host:5432/database",
    )
}

/// Whether everyone finds the same end of the password: some take the first `@`, some the last one
/// before the first slash. A URL that they would split differently is refused, because a part of
/// the password would be taken for the host, and printed.
pub fn credentials(url: &str) -> Result<(), String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let at: Vec<usize> = rest.match_indices('@').map(|(at, _)| at).collect();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    verdict(
        at.len() <= 1 && at.iter().all(|at| *at < end),
        "has a special character in its user or password that must be percent-encoded: %40 for @, \
         %2F for /, %3F for ?, %23 for #, %25 for %",
    )
}

/// The path of a URL whose scheme is one of `schemes` and whose host and port make sense.
fn url<'a>(text: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let rest = schemes.iter().find_map(|s| text.strip_prefix(s))?;
    let (user_and_host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = user_and_host.rsplit_once('@').map_or(user_and_host, |(_, host)| host);
    authority(host, false).then_some(path)
}

fn authority(text: &str, port_needed: bool) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_good = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
        }
    };
    host_good && port.map_or(!port_needed, |p| p.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_in_one_place_only() {
        for special in ["@", "/", "?", "#", "@@", "a/@", "?x=@"] {
            let url = format!("postgres://weir:pass{special}word@host:5432/weir");
            assert!(credentials(&url).is_err() && postgres_url(&url).is_err(), "{url}");
        }
        for plain in ["", "%40", "%2F%3F", "a:b", "!$&'()*+,;=", "ä", "100%25"] {
            let url = format!("postgres://weir:pass{plain}word@host:5432/weir?sslmode=require");
            assert!(credentials(&url).is_ok() && postgres_url(&url).is_ok(), "{url}");
        }
        assert!(credentials("postgres://host/weir").is_ok());
        assert!(credentials("postgres://host/we@ir").is_err());
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_refused() {
        let long = "x".repeat(64);
        for bad in ["", "Telecom", "9lives", "a b", "a;DROP TABLE x", "a\"b", "ä", &long] {
            assert!(name(bad).is_err() && rule(bad).is_err() && lookup(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "a.b.c",
            "public.",
            ".t",
            "pg_catalog.pg_class",
            "weir.positions",
            "order",
            "t; DROP TABLE x",
            "1t",
            &long,
        ] {
            assert!(table(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "..", "__consumer_offsets", "weir.positions", "tö", &"t".repeat(250)]
        {
            assert!(topic(bad).is_err(), "{bad:?}");
        }
        assert!(
            table("telecom.telecom_data").is_ok()
                && table("Orders").is_ok()
                && topic("telecom-data").is_ok()
        );
        assert!(
            lookup("input").is_err() && lookup("select").is_err() && lookup("airports").is_ok()
        );
    }

    #[test]
    fn types_are_not_a_way_in() {
        for good in [
            "varchar(50)",
            "numeric(10, 2)",
            "timestamp with time zone",
            "double precision",
            "timestamp(3) with time zone",
            "int8",
            "text[]",
            "numeric(10, 2)[]",
            "shop.size",
        ] {
            assert_eq!(column_type(good), Ok(()), "{good}");
        }
        for bad in
            ["", "varchar(50", "varchar(x)", "text); DROP TABLE x", "text default 'x'", "text--"]
        {
            assert!(column_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_sensible_port() {
        for good in ["localhost:9092", "a:1, b:2", "[::1]:9092"] {
            assert!(brokers(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "host:0",
            "host:99999",
            "host:x",
            "http://host:9092",
            "a:1,",
            "[::z]:1",
        ] {
            assert!(brokers(bad).is_err(), "{bad}");
        }
        assert!(
            http_url("http://localhost:8081/apis/ccompat/v7").is_ok()
                && http_url("https://u:p@registry").is_ok()
        );
        assert!(
            http_url("localhost:8081").is_err()
                && http_url("http://").is_err()
                && http_url("http://h:port").is_err()
        );
        assert!(
            postgres_url("postgres://u:p%40@h:5432/db?sslmode=require").is_ok()
                && postgres_url("postgresql://h/db").is_ok()
        );
        assert!(
            postgres_url("postgres://h:5432").is_err() && postgres_url("mysql://h/db").is_err()
        );
    }
}
