//! The rules: stable id, category, score, paranoia level.
//!
//! Scores follow the usual scale: 5 critical, 4 error, 3 warning, 2 notice. A rule of paranoia level 2 or more
//! is looked at only where the policy asks for it: it catches more, and also more that is innocent.

/// One rule of payload inspection.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name, as reasons and exclusions have it.
    pub id: &'static str,
    /// What kind of attack: `sql-injection`, `xss`, …
    pub category: &'static str,
    /// What it adds to the anomaly score, 2 to 5.
    pub score: u8,
    /// From which paranoia level on it is looked at, 1 to 4.
    pub paranoia: u8,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $category:literal, $score:literal, $paranoia:literal;)*) => {
        $(pub(super) static $name: Rule =
            Rule { id: $id, category: $category, score: $score, paranoia: $paranoia };)*
        /// Every rule there is.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    SQL_TOKENS = "sqli-tokens", "sql-injection", 5, 1;
    SQL_TOKENS_WEAK = "sqli-tokens-weak", "sql-injection", 5, 2;
    SQL_UNION = "sqli-union-select", "sql-injection", 5, 1;
    SQL_TAUTOLOGY = "sqli-tautology", "sql-injection", 5, 1;
    SQL_STACKED = "sqli-stacked-statement", "sql-injection", 5, 1;
    SQL_FUNCTION = "sqli-function", "sql-injection", 5, 1;
    SQL_SCHEMA = "sqli-schema-name", "sql-injection", 5, 1;
    SQL_FILE = "sqli-file-access", "sql-injection", 5, 1;
    SQL_SUBSELECT = "sqli-subselect", "sql-injection", 5, 1;
    SQL_COMMENT_TAIL = "sqli-comment-tail", "sql-injection", 5, 1;
    SQL_ORDER_PROBE = "sqli-order-probe", "sql-injection", 5, 1;
    SQL_SELECT_FROM = "sqli-select-from", "sql-injection", 4, 2;
    SQL_QUOTE = "sqli-quote", "sql-injection", 3, 3;
    XSS_TOKENS = "xss-tokens", "xss", 5, 1;
    XSS_SCRIPT = "xss-script-tag", "xss", 5, 1;
    XSS_TAG = "xss-active-tag", "xss", 5, 1;
    XSS_EVENT = "xss-event-handler", "xss", 5, 1;
    XSS_URI = "xss-script-uri", "xss", 5, 1;
    XSS_SCRIPT_CODE = "xss-script-code", "xss", 5, 1;
    XSS_STYLE = "xss-style-code", "xss", 5, 1;
    XSS_ANY_TAG = "xss-any-tag", "xss", 4, 2;
    XSS_BRACKETS = "xss-brackets", "xss", 2, 4;
    PATH_TRAVERSAL = "path-traversal", "path-traversal", 5, 1;
    PATH_DOTS = "path-parent", "path-traversal", 4, 2;
    PATH_FILE = "path-system-file", "path-traversal", 5, 1;
    PATH_DIRECTORY = "path-system-directory", "path-traversal", 5, 1;
    PATH_WRAPPER = "path-stream-wrapper", "path-traversal", 5, 1;
    PATH_NULL = "path-null-byte", "path-traversal", 5, 1;
    REMOTE_FILE = "remote-file", "file-inclusion", 5, 1;
    COMMAND_CHAIN = "command-chain", "command-injection", 5, 1;
    COMMAND_SUBSTITUTION = "command-substitution", "command-injection", 5, 1;
    COMMAND_SHELL = "command-shell", "command-injection", 5, 1;
    COMMAND_FUNCTION_HEADER = "command-function-header", "command-injection", 5, 1;
    CODE_PHP = "code-php", "code-injection", 5, 1;
    CODE_PYTHON = "code-python", "code-injection", 5, 1;
    CODE_NODE = "code-node", "code-injection", 5, 1;
    CODE_JAVA = "code-java", "code-injection", 5, 1;
    CODE_PROTOTYPE = "code-prototype-pollution", "code-injection", 5, 1;
    TEMPLATE_EXPRESSION = "template-expression", "template-injection", 5, 1;
    TEMPLATE_DIRECTIVE = "template-directive", "template-injection", 5, 1;
    TEMPLATE_BRACES = "template-braces", "template-injection", 4, 2;
    LDAP_FILTER = "ldap-filter", "ldap-injection", 5, 1;
    XPATH_EXPRESSION = "xpath-expression", "xpath-injection", 5, 1;
    NOSQL_OPERATOR = "nosql-operator", "nosql-injection", 5, 1;
    NOSQL_SCRIPT = "nosql-script", "nosql-injection", 5, 1;
    XXE_ENTITY = "xxe-entity", "xxe", 5, 1;
    SSRF_METADATA = "ssrf-metadata", "ssrf", 5, 1;
    SSRF_LOCAL = "ssrf-local-target", "ssrf", 5, 1;
    SSRF_SCHEME = "ssrf-scheme", "ssrf", 5, 1;
    HEADER_SPLIT = "header-split", "header-injection", 5, 1;
    HEADER_MAIL = "header-mail", "header-injection", 5, 1;
    LOOKUP = "lookup-expression", "lookup-injection", 5, 1;
    OBJECT_JAVA = "object-java", "deserialization", 5, 1;
    OBJECT_PHP = "object-php", "deserialization", 5, 1;
    OBJECT_PYTHON = "object-python", "deserialization", 5, 1;
    OBJECT_DOTNET = "object-dotnet", "deserialization", 5, 1;
    OBJECT_OTHER = "object-other", "deserialization", 5, 1;
    UPLOAD_SCRIPT = "upload-script-name", "upload", 5, 1;
    ENCODED_TOO_OFTEN = "encoded-too-often", "inspection", 3, 1;
    BODY_MALFORMED = "body-malformed", "inspection", 2, 1;
    LIMIT = "inspection-limit", "inspection", 5, 1;
    LIMIT_BYTES = "inspection-limit-bytes", "inspection", 2, 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_numbers_in_range() {
        let ids: std::collections::BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        assert!(RULES.iter().all(|rule| (2..=5).contains(&rule.score) && (1..=4).contains(&rule.paranoia)));
    }
}
