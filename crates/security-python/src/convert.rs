//! Python values to the engine's and back.
//!
//! Data is converted strictly, with the argument's name in every error; presented credentials are converted
//! whatever their shape, because a wrong credential is an answer and no error.

use std::{borrow::Cow, time::Duration};

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    pybacked::PyBackedStr,
    sync::PyOnceLock,
    types::{
        PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList,
        PyMemoryView, PyString, PyTuple,
    },
};
use security::{Timestamp, UsageContext};
use serde::Serialize;
use serde_json::{Map, Number, Value};

/// The deepest nesting taken; the engine itself follows no deeper.
const MAX_DEPTH: usize = 64;
const ACCEPTED: &str =
    "accepted are None, bool, int, float, str, bytes, datetime, list, tuple and dict with str keys";

/// A text argument. A lone surrogate, which no UTF-8 can hold, becomes U+FFFD.
#[derive(Debug, Clone)]
pub(crate) struct Text(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let text = given.cast::<PyString>().map_err(|_| refused(&given, "a str is needed"))?;
        Ok(Self(utf8(&text).into_owned()))
    }
}

/// Any number of texts: a list, tuple, set or other iterable of `str`, but not a single `str`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Texts {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        each_text(given, |text| utf8(&text).into_owned()).map(Self)
    }
}

/// Any number of texts, as [`Texts`], left where Python has them: nothing is copied.
pub(crate) struct SharedTexts(pub(crate) Vec<SharedText>);

/// A text of Python's, or one of our own where a lone surrogate had to be replaced.
pub(crate) enum SharedText {
    Theirs(PyBackedStr),
    Ours(String),
}

impl AsRef<str> for SharedText {
    fn as_ref(&self) -> &str {
        match self {
            Self::Theirs(text) => text,
            Self::Ours(text) => text,
        }
    }
}

impl SharedText {
    fn of(text: Bound<'_, PyString>) -> Self {
        match PyBackedStr::try_from(text.clone()) {
            Ok(theirs) => Self::Theirs(theirs),
            Err(_) => Self::Ours(utf8(&text).into_owned()),
        }
    }
}

/// As [`Text`].
impl<'py> FromPyObject<'_, 'py> for SharedText {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let text = given.cast::<PyString>().map_err(|_| refused(&given, "a str is needed"))?;
        Ok(Self::of(text.to_owned()))
    }
}

impl<'py> FromPyObject<'_, 'py> for SharedTexts {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        each_text(given, SharedText::of).map(Self)
    }
}

/// The texts of an iterable, each as `take` makes it.
fn each_text<'py, T>(
    given: Borrowed<'_, 'py, PyAny>,
    take: impl Fn(Bound<'py, PyString>) -> T,
) -> PyResult<Vec<T>> {
    const NEEDED: &str = "a list of str is needed";
    if given.is_instance_of::<PyString>() || given.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err(format!("{NEEDED}, not a single one")));
    }
    let items = given.try_iter().map_err(|_| refused(&given, NEEDED))?;
    let text = |item: PyResult<Bound<'py, PyAny>>| {
        let text = item?.cast_into::<PyString>().map_err(|error| {
            PyTypeError::new_err(format!("{NEEDED}; one is {}", kind(&error.into_inner())))
        })?;
        Ok(take(text))
    };
    items.map(text).collect()
}

/// A duration: seconds (`int` or `float`) or a `timedelta`, not below zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let number = if given.is_instance_of::<PyDelta>() {
            given.call_method0("total_seconds")?.extract::<f64>()?
        } else if given.is_instance_of::<PyBool>()
            || !(given.is_instance_of::<PyInt>() || given.is_instance_of::<PyFloat>())
        {
            return Err(refused(&given, "seconds as int or float, or a timedelta, are needed"));
        } else {
            given.extract::<f64>().unwrap_or(f64::INFINITY) // an int beyond every float
        };
        let duration = Duration::try_from_secs_f64(number).ok().filter(|d| d.as_secs() <= LONGEST.as_secs());
        duration.map(Self).ok_or_else(|| {
            PyValueError::new_err(format!("accepted are 0 to {} seconds, not {number}", LONGEST.as_secs()))
        })
    }
}

/// A thousand years: more is a mistake, and would not fit a timestamp.
const LONGEST: Duration = Duration::from_secs(1000 * 366 * 86_400);

/// An argument as it was given. What is wrong with it is said when it is asked for by its name, because PyO3's own
/// messages leave the name out.
pub(crate) struct Given<T>(PyResult<T>);

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for Given<T> {
    type Error = std::convert::Infallible;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(given.extract::<T>().map_err(Into::into)))
    }
}

impl<T> Given<T> {
    /// A default.
    pub(crate) fn of(value: T) -> Self {
        Self(Ok(value))
    }

    /// The value, or what is wrong with the argument of this name.
    pub(crate) fn value(self, argument: &str) -> PyResult<T> {
        self.0.map_err(|error| Python::attach(|py| named(py, argument, error)))
    }
}

impl Given<Text> {
    pub(crate) fn text(self, argument: &str) -> PyResult<String> {
        self.value(argument).map(|text| text.0)
    }
}

impl Given<Texts> {
    pub(crate) fn texts(self, argument: &str) -> PyResult<Vec<String>> {
        self.value(argument).map(|texts| texts.0)
    }
}

impl Given<i64> {
    /// How many results are wanted: one or more.
    pub(crate) fn limit(self, argument: &str) -> PyResult<usize> {
        let given = self.value(argument)?;
        let accepted = usize::try_from(given).ok().filter(|limit| *limit > 0);
        accepted.ok_or_else(|| {
            PyValueError::new_err(format!("{argument}: {given} is not accepted; accepted is 1 or more"))
        })
    }
}

impl Given<Bound<'_, PyDict>> {
    pub(crate) fn map(self, argument: &str) -> PyResult<Map<String, Value>> {
        to_map(argument, &self.value(argument)?)
    }
}

/// An argument that may be left out.
pub(crate) fn optional<T, R>(
    argument: &str,
    given: Option<Given<T>>,
    read: impl FnOnce(Given<T>, &str) -> PyResult<R>,
) -> PyResult<Option<R>> {
    given.map(|given| read(given, argument)).transpose()
}

/// Names the argument in a `ValueError` or `TypeError`.
pub(crate) fn named(py: Python<'_>, argument: &str, error: PyErr) -> PyErr {
    let class = error.get_type(py);
    if class.is(py.get_type::<PyValueError>()) {
        return PyValueError::new_err(format!("{argument}: {}", error.value(py)));
    }
    if class.is(py.get_type::<PyOverflowError>()) {
        return PyValueError::new_err(format!("{argument}: out of range"));
    }
    if class.is(py.get_type::<PyTypeError>()) {
        return PyTypeError::new_err(format!("argument '{argument}': {}", error.value(py)));
    }
    error
}

/// [`Seconds`] of an argument.
pub(crate) fn seconds(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds = given.extract::<Seconds>().map_err(|error| named(given.py(), argument, error))?;
    Ok(seconds.0)
}

/// A moment: a `datetime` (naive ones count as UTC) or an RFC 3339 text.
pub(crate) fn moment(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Timestamp> {
    let text = if given.is_instance_of::<PyDateTime>() {
        isoformat(given)?
    } else if let Ok(text) = given.cast::<PyString>() {
        utf8(text).into_owned()
    } else {
        let problem = refused(given, "a datetime or an RFC 3339 str is needed");
        return Err(named(given.py(), argument, problem));
    };
    text.parse().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// The bytes of a presented credential, whatever was presented. What is neither text nor bytes, and text that
/// no client can send, is the empty credential, which nothing accepts.
pub(crate) fn presented<'a>(given: &'a Bound<'_, PyAny>) -> Cow<'a, [u8]> {
    if let Ok(text) = given.cast::<PyString>() {
        return Cow::Borrowed(text.to_str().map_or(b"", str::as_bytes));
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Cow::Borrowed(bytes.as_bytes());
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Cow::Owned(bytes.to_vec());
    }
    if given.is_instance_of::<PyMemoryView>() {
        let bytes = given.call_method0("tobytes").ok().and_then(|bytes| bytes.extract::<Vec<u8>>().ok());
        return Cow::Owned(bytes.unwrap_or_default());
    }
    Cow::Borrowed(b"")
}

/// UTF-8 of any `str`. Each lone surrogate becomes one U+FFFD, so that the code points keep their places.
pub(crate) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    if let Ok(text) = text.to_str() {
        return Cow::Borrowed(text);
    }
    let encoded = text.call_method1("encode", ("utf-8", "surrogatepass"));
    let mut bytes = encoded.and_then(|bytes| bytes.extract::<Vec<u8>>()).unwrap_or_default();
    for at in 0..bytes.len().saturating_sub(2) {
        // ED A0..BF is what a surrogate begins with, and no other character does.
        if bytes[at] == 0xed && bytes[at + 1] >= 0xa0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn kind(given: &Bound<'_, PyAny>) -> String {
    given.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}

pub(crate) fn refused(given: &Bound<'_, PyAny>, needed: &str) -> PyErr {
    PyTypeError::new_err(format!("{needed}, not {}", kind(given)))
}

/// RFC 3339 of a `datetime`; one without an offset counts as UTC.
fn isoformat(given: &Bound<'_, PyAny>) -> PyResult<String> {
    let text: String = given.call_method0("isoformat")?.extract()?;
    Ok(if given.getattr("tzinfo")?.is_none() { text + "Z" } else { text })
}

/// JSON of a Python value.
///
/// `datetime` becomes RFC 3339 in UTC and `bytes` become text; `TypeError` names the argument for every other type.
pub(crate) fn to_json(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<Value> {
    json(given, 0).map_err(|error| named(given.py(), argument, error))
}

/// [`to_json`] of what must be a `dict`.
pub(crate) fn to_map(argument: &str, given: &Bound<'_, PyDict>) -> PyResult<Map<String, Value>> {
    match to_json(argument, given)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()), // a dict is an object
    }
}

fn json(given: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        return Err(PyValueError::new_err(format!(
            "nested deeper than {MAX_DEPTH} levels, or inside itself"
        )));
    }
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(Value::String(utf8(text).into_owned()));
    }
    if given.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = given.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if given.is_instance_of::<PyInt>() {
        let number =
            given.extract::<i64>().map(Number::from).or_else(|_| given.extract::<u64>().map(Number::from));
        return number.map(Value::Number).map_err(|_| PyValueError::new_err("an int has more than 64 bits"));
    }
    if let Ok(number) = given.cast::<PyFloat>() {
        let number = Number::from_f64(number.value());
        return number.map(Value::Number).ok_or_else(|| PyValueError::new_err("a float is not finite"));
    }
    if let Ok(dict) = given.cast::<PyDict>() {
        let mut map = Map::with_capacity(dict.len());
        for (key, value) in pairs(dict) {
            let key = key
                .cast::<PyString>()
                .map_err(|_| PyTypeError::new_err(format!("a key is {}; {ACCEPTED}", kind(&key))))?;
            map.insert(utf8(key).into_owned(), json(&value, depth + 1)?);
        }
        return Ok(Value::Object(map));
    }
    if let Ok(list) = given.cast::<PyList>() {
        return list.iter().map(|item| json(&item, depth + 1)).collect::<PyResult<_>>().map(Value::Array);
    }
    if let Ok(tuple) = given.cast::<PyTuple>() {
        return tuple.iter().map(|item| json(&item, depth + 1)).collect::<PyResult<_>>().map(Value::Array);
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Value::String(String::from_utf8_lossy(bytes.as_bytes()).into_owned()));
    }
    if given.is_instance_of::<PyDateTime>() {
        let text = isoformat(given)?;
        return Ok(Value::String(text.parse::<Timestamp>().map_or(text, |time| time.to_string())));
    }
    if given.is_instance_of::<PyDate>() {
        return Ok(Value::String(given.call_method0("isoformat")?.extract()?));
    }
    Err(PyTypeError::new_err(format!("{} is not accepted; {ACCEPTED}", kind(given))))
}

/// The entries of a dictionary as they are now: converting one may run Python code that changes it.
fn pairs<'py>(dict: &Bound<'py, PyDict>) -> Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    dict.items().iter().filter_map(|pair| pair.extract().ok()).collect()
}

/// What a caller says of a use beside the credential itself. Nothing is refused here: an odd option must not
/// keep anybody from being verified.
pub(crate) fn usage(options: Option<&Bound<'_, PyDict>>) -> UsageContext {
    let mut context = UsageContext::default();
    let Some(options) = options else { return context };
    for (name, value) in pairs(options) {
        let Ok(name) = name.cast::<PyString>().map(|name| utf8(name).into_owned()) else { continue };
        if value.is_none() {
            continue;
        }
        match name.as_str() {
            "request_id" => context.request_id = Some(words(&value)),
            "client_ip" => context.client_ip = Some(words(&value)),
            // The older name gives way to the newer one.
            "ip_address" => context.client_ip = context.client_ip.or_else(|| Some(words(&value))),
            "user_agent" => context.user_agent = Some(words(&value)),
            "user_id" => context.user_id = Some(words(&value)),
            "component" => context.component = Some(words(&value)),
            "operation" => context.operation = Some(words(&value)),
            "error" => context.error = Some(words(&value)),
            "success" => context.success = value.is_truthy().ok(),
            _ => {
                let value = json(&value, 0).unwrap_or_else(|_| Value::String(words(&value)));
                context.extra.insert(name, value);
            }
        }
    }
    context
}

fn words(value: &Bound<'_, PyAny>) -> String {
    value.str().map_or_else(|_| format!("<{}>", kind(value)), |text| utf8(&text).into_owned())
}

/// The Python value of a result, through JSON: plain `dict`, `list`, `str`, `int`, `float`, `bool` and None.
pub(crate) fn to_python<'py>(py: Python<'py>, result: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(result).map_err(|error| {
        pyo3::exceptions::PyRuntimeError::new_err(format!("a result has no JSON: {error}"))
    })?;
    from_json(py, &value)
}

/// The Python value of a JSON value.
pub(crate) fn from_json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (_, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(from_json(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(map) => {
            let dict = PyDict::new(py);
            for (key, item) in map {
                dict.set_item(PyString::intern(py, key), from_json(py, item)?)?;
            }
            dict.into_any()
        }
    })
}

/// A result as one of the classes of `security.answers`, which are true or false by what they say.
pub(crate) fn answer<'py>(
    py: Python<'py>,
    class: &str,
    result: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    class_of(py, class)?.call1((to_python(py, result)?,))
}

/// One of the classes of `security.answers`.
pub(crate) fn class_of<'py>(py: Python<'py>, class: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module =
        MODULE.get_or_try_init(py, || PyResult::Ok(py.import("security.answers")?.into_any().unbind()))?;
    module.bind(py).getattr(class)
}

/// The code point of each byte offset of `text`, in one pass; `offsets` may come in any order.
pub(crate) fn code_points(text: &str, offsets: &mut [usize]) {
    if text.is_ascii() {
        return;
    }
    let mut order: Vec<usize> = (0..offsets.len()).collect();
    order.sort_unstable_by_key(|at| offsets[*at]);
    let (mut bytes, mut points) = (0, 0);
    for at in order {
        let offset = offsets[at].min(text.len());
        // A byte of the form 10xxxxxx continues a code point, every other one begins one.
        points += text.as_bytes()[bytes..offset].iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        bytes = offset;
        offsets[at] = points;
    }
}
