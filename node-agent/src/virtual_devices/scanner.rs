//! Kernel signatures out of OpenCL C source, without a compiler.
//!
//! Understood: comments, strings, `__kernel`/`kernel` functions at file level with their attributes,
//! prototypes, address spaces, `const`, `volatile`, `restrict`, pointers, `const` after the type, array
//! brackets, `unsigned` and friends, `struct`/`union`/`enum` names, and `-D NAME`, `-DNAME=words` in the
//! options, put in place of the name wherever it stands.
//!
//! Not understood: preprocessor lines are skipped, so that `#define` defines nothing, `#include` brings
//! nothing, and of an `#if` all branches are read; a kernel that a macro makes is not seen; `typedef`s
//! are not followed, so that a value of such a type may have any size; function bodies are only skipped,
//! so that errors in them go unnoticed. Must never accept a kernel whose arguments it did not understand.

use std::collections::BTreeMap;

use isochrone_model::{AddressSpace, ArgumentInfo, KernelSignature};

use crate::opencl::signature::argument_info;

/// Why source was not understood; prints as a line of a compiler's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub(crate) struct ScanError {
    /// The line, from 1.
    pub(crate) line: u32,
    /// What is wrong there.
    pub(crate) fault: ScanFault,
}

/// What is wrong with source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanFault {
    /// `/*` without `*/`.
    #[error("a comment does not end")]
    OpenComment,
    /// A quote without its end on the line.
    #[error("a string does not end")]
    OpenString,
    /// A closing bracket without its opening one, or the other way round.
    #[error("brackets do not match: `{bracket}`")]
    Brackets {
        /// The bracket.
        bracket: char,
    },
    /// Something else stood where a kernel needs this.
    #[error("a kernel needs {wanted} here")]
    Expected {
        /// What is needed.
        wanted: &'static str,
    },
    /// A kernel that returns something.
    #[error("kernel return type must be void")]
    NotVoid,
    /// A pointer that says nothing of where it points.
    #[error(
        "argument {index} of {kernel}: a pointer needs an address space: __global, __constant or __local"
    )]
    NoAddressSpace {
        /// The kernel.
        kernel: String,
        /// The argument's place, from 0.
        index: usize,
    },
    /// An argument without a type or a name.
    #[error("argument {index} of {kernel}: needs {wanted}")]
    Argument {
        /// The kernel.
        kernel: String,
        /// The argument's place, from 0.
        index: usize,
        /// What is missing.
        wanted: &'static str,
    },
    /// Two bodies for one name.
    #[error("redefinition of kernel {name}")]
    Redefinition {
        /// The kernel.
        name: String,
    },
}

/// The kernels of a source, ordered by name.
pub(crate) fn scan(source: &str, options: &str) -> Result<Vec<KernelSignature>, ScanError> {
    let tokens = substituted(tokens_of(source)?, &defines_of(options));
    Scanner { tokens, place: 0 }.kernels()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: u32,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    Mark(char),
    /// A number or a string, whose contents matter to nobody here.
    Literal,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Mark(_) | Kind::Literal => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

fn tokens_of(source: &str) -> Result<Vec<Token>, ScanError> {
    let letters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line, mut is_line_start) = (0, 1, true);
    while let Some(&letter) = letters.get(at) {
        let next = letters.get(at + 1).copied();
        let start_line = line;
        if letter == '\n' {
            line += 1;
            at += 1;
            is_line_start = true;
        } else if letter.is_whitespace() || letter == '\\' {
            at += 1;
        } else if letter == '/' && next == Some('/') {
            at = line_end(&letters, at, &mut line);
        } else if letter == '/' && next == Some('*') {
            at = comment_end(&letters, at, &mut line)
                .ok_or(ScanError { line: start_line, fault: ScanFault::OpenComment })?;
        } else if letter == '#' && is_line_start {
            at = line_end(&letters, at, &mut line);
        } else {
            is_line_start = false;
            let (kind, end) = if letter == '"' || letter == '\'' {
                let end = string_end(&letters, at)
                    .ok_or(ScanError { line: start_line, fault: ScanFault::OpenString })?;
                (Kind::Literal, end)
            } else if letter.is_ascii_digit() {
                let is_part = |letter: &char| letter.is_alphanumeric() || *letter == '.' || *letter == '_';
                (Kind::Literal, run_end(&letters, at, is_part))
            } else if letter.is_alphabetic() || letter == '_' {
                let end = run_end(&letters, at, |letter| letter.is_alphanumeric() || *letter == '_');
                (Kind::Word(letters[at..end].iter().collect()), end)
            } else {
                (Kind::Mark(letter), at + 1)
            };
            tokens.push(Token { line: start_line, kind });
            at = end;
        }
    }
    Ok(tokens)
}

fn run_end(letters: &[char], start: usize, is_part: impl Fn(&char) -> bool) -> usize {
    letters[start..].iter().position(|letter| !is_part(letter)).map_or(letters.len(), |length| start + length)
}

/// The newline that ends a line, with backslashes continuing it.
fn line_end(letters: &[char], start: usize, line: &mut u32) -> usize {
    let mut at = start;
    while let Some(&letter) = letters.get(at) {
        if letter == '\n' {
            let is_continued = letters[start..at].iter().rev().find(|letter| **letter != '\r') == Some(&'\\');
            if !is_continued {
                return at;
            }
            *line += 1;
        } else if letter == '/' && letters.get(at + 1) == Some(&'*') && letters[start] == '#' {
            // A comment may begin on a preprocessor line and end on a later one.
            match comment_end(letters, at, line) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return letters.len(),
            }
        }
        at += 1;
    }
    at
}

fn comment_end(letters: &[char], start: usize, line: &mut u32) -> Option<usize> {
    let mut at = start + 2;
    loop {
        match (letters.get(at)?, letters.get(at + 1)) {
            ('*', Some('/')) => return Some(at + 2),
            ('\n', _) => *line += 1,
            _ => {}
        }
        at += 1;
    }
}

fn string_end(letters: &[char], start: usize) -> Option<usize> {
    let quote = letters[start];
    let mut at = start + 1;
    loop {
        match letters.get(at)? {
            '\\' => at += 1,
            '\n' => return None,
            letter if *letter == quote => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
}

/// The names that compiler options define, with the words that stand for them.
fn defines_of(options: &str) -> BTreeMap<String, Vec<Kind>> {
    let mut defines = BTreeMap::new();
    let mut words = option_words(options).into_iter();
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("-D") else { continue };
        let definition = if rest.is_empty() { words.next().unwrap_or_default() } else { rest.to_owned() };
        let (name, value) = definition.split_once('=').unwrap_or((definition.as_str(), "1"));
        // A macro with parameters, or a value that is no list of words, is beyond this scanner.
        if !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            && let Ok(tokens) = tokens_of(value)
        {
            defines.insert(name.to_owned(), tokens.into_iter().map(|token| token.kind).collect());
        }
    }
    defines
}

/// Options split at spaces outside quotes; the quotes are taken away.
fn option_words(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in options.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if letter.is_whitespace() => words.push(String::new()),
            Some(_) | None => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Puts definitions in place, through chains of them as long as there are definitions.
fn substituted(mut tokens: Vec<Token>, defines: &BTreeMap<String, Vec<Kind>>) -> Vec<Token> {
    for _ in 0..defines.len().min(8) {
        let mut has_changed = false;
        let mut next = Vec::with_capacity(tokens.len());
        for token in tokens {
            match token.word().and_then(|word| defines.get(word)) {
                Some(kinds) if *kinds != [token.kind.clone()] => {
                    has_changed = true;
                    next.extend(kinds.iter().map(|kind| Token { line: token.line, kind: kind.clone() }));
                }
                Some(_) | None => next.push(token),
            }
        }
        tokens = next;
        if !has_changed {
            break;
        }
    }
    tokens
}

struct Scanner {
    tokens: Vec<Token>,
    place: usize,
}

impl Scanner {
    fn kernels(mut self) -> Result<Vec<KernelSignature>, ScanError> {
        // By name: the signature, and whether it had a body.
        let mut kernels: BTreeMap<String, (KernelSignature, bool)> = BTreeMap::new();
        while let Some(token) = self.tokens.get(self.place) {
            if matches!(token.word(), Some("__kernel" | "kernel")) {
                self.place += 1;
                let line = self.line();
                let (signature, has_body) = self.kernel()?;
                let name = signature.name.clone();
                match kernels.get(&name) {
                    Some((_, true)) if has_body => {
                        return Err(ScanError { line, fault: ScanFault::Redefinition { name } });
                    }
                    Some((_, true)) => {}
                    Some((_, false)) | None => {
                        kernels.insert(name, (signature, has_body));
                    }
                }
            } else if let Some(bracket @ (')' | ']' | '}')) = self.mark() {
                return Err(self.fault(ScanFault::Brackets { bracket }));
            } else {
                self.skip_one()?;
            }
        }
        // A prototype alone is no kernel of the program.
        Ok(kernels.into_values().filter(|(_, has_body)| *has_body).map(|(signature, _)| signature).collect())
    }

    /// From after `kernel` to after its body or semicolon.
    fn kernel(&mut self) -> Result<(KernelSignature, bool), ScanError> {
        let mut is_void = false;
        let name = loop {
            self.skip_attributes()?;
            let Some(word) = self.word() else {
                return Err(self.fault(ScanFault::Expected { wanted: "a name" }));
            };
            self.place += 1;
            match word.as_str() {
                "void" if !is_void => is_void = true,
                "static" | "inline" | "extern" => {}
                _ if is_void => break word,
                _ => return Err(self.fault(ScanFault::NotVoid)),
            }
        };
        self.skip_attributes()?;
        if self.mark() != Some('(') {
            return Err(self.fault(ScanFault::Expected { wanted: "`(`" }));
        }
        let start = self.place + 1;
        self.skip_one()?;
        let tokens = self.tokens[start..self.place - 1].to_vec();
        let arguments = arguments_of(&name, &tokens)?;
        self.skip_attributes()?;
        let has_body = match self.mark() {
            Some('{') => true,
            Some(';') => false,
            _ => return Err(self.fault(ScanFault::Expected { wanted: "a body" })),
        };
        self.skip_one()?;
        Ok((KernelSignature { name, arguments: arguments.into() }, has_body))
    }

    fn skip_attributes(&mut self) -> Result<(), ScanError> {
        while matches!(self.word().as_deref(), Some("__attribute__" | "__attribute")) {
            self.place += 1;
            if self.mark() != Some('(') {
                return Err(self.fault(ScanFault::Expected { wanted: "`(`" }));
            }
            self.skip_one()?;
        }
        Ok(())
    }

    /// Past one token, or past a whole bracketed group.
    fn skip_one(&mut self) -> Result<(), ScanError> {
        let mut open: Vec<(char, u32)> = Vec::new();
        while let Some(token) = self.tokens.get(self.place) {
            match token.kind {
                Kind::Mark(bracket @ ('(' | '[' | '{')) => open.push((bracket, token.line)),
                Kind::Mark(bracket @ (')' | ']' | '}')) => match open.pop() {
                    Some(('(', _)) if bracket == ')' => {}
                    Some(('[', _)) if bracket == ']' => {}
                    Some(('{', _)) if bracket == '}' => {}
                    Some(_) | None => return Err(self.fault(ScanFault::Brackets { bracket })),
                },
                Kind::Mark(_) | Kind::Word(_) | Kind::Literal => {}
            }
            self.place += 1;
            if open.is_empty() {
                return Ok(());
            }
        }
        match open.pop() {
            Some((bracket, line)) => Err(ScanError { line, fault: ScanFault::Brackets { bracket } }),
            None => Ok(()),
        }
    }

    fn word(&self) -> Option<String> {
        self.tokens.get(self.place)?.word().map(str::to_owned)
    }

    fn mark(&self) -> Option<char> {
        match self.tokens.get(self.place)?.kind {
            Kind::Mark(mark) => Some(mark),
            Kind::Word(_) | Kind::Literal => None,
        }
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.place).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    fn fault(&self, fault: ScanFault) -> ScanError {
        ScanError { line: self.line(), fault }
    }
}

fn arguments_of(kernel: &str, tokens: &[Token]) -> Result<Vec<ArgumentInfo>, ScanError> {
    let is_empty = match tokens {
        [] => true,
        [only] => only.word() == Some("void"),
        _ => false,
    };
    if is_empty {
        return Ok(Vec::new());
    }
    let mut depth = 0_u32;
    let mut pieces: Vec<Vec<&Token>> = vec![Vec::new()];
    for token in tokens {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Kind::Mark(_) | Kind::Word(_) | Kind::Literal => {}
        }
        if depth == 0 && token.is(',') {
            pieces.push(Vec::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(token);
        }
    }
    let line = tokens.first().map_or(1, |token| token.line);
    pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let line = piece.first().map_or(line, |token| token.line);
            argument_of(kernel, index, piece).map_err(|fault| ScanError { line, fault })
        })
        .collect()
}

/// What has been read of one argument.
#[derive(Default)]
struct Reading {
    space: Option<AddressSpace>,
    is_const: bool,
    stars: usize,
    words: Vec<String>,
}

fn argument_of(kernel: &str, index: usize, tokens: &[&Token]) -> Result<ArgumentInfo, ScanFault> {
    let mut reading = Reading::default();
    let mut depth = 0_u32;
    let mut is_attribute = false;
    for token in tokens {
        match &token.kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            Kind::Mark('[') if depth == 0 => {
                // An array argument is a pointer.
                reading.stars += 1;
                depth += 1;
            }
            Kind::Mark('[') => depth += 1,
            Kind::Mark(']') => depth = depth.saturating_sub(1),
            Kind::Mark('*') if depth == 0 => reading.stars += 1,
            Kind::Mark(_) | Kind::Literal if depth == 0 => {
                return Err(ScanFault::Argument { kernel: kernel.to_owned(), index, wanted: "a plain type" });
            }
            Kind::Word(word) if depth == 0 => {
                is_attribute |= word.starts_with("__attribute");
                reading.take(word);
            }
            Kind::Word(_) if is_attribute => {}
            // A pointer to an array, and whatever else stands in brackets without being an attribute.
            Kind::Word(_) => {
                return Err(ScanFault::Argument { kernel: kernel.to_owned(), index, wanted: "a plain type" });
            }
            Kind::Mark(_) | Kind::Literal => {}
        }
    }
    reading.finish(kernel, index)
}

impl Reading {
    fn take(&mut self, word: &str) {
        match word {
            "__global" | "global" => self.space = Some(AddressSpace::Global),
            "__constant" | "constant" => self.space = Some(AddressSpace::Constant),
            "__local" | "local" => self.space = Some(AddressSpace::Local),
            "__private" | "private" => self.space = Some(AddressSpace::Private),
            // After a star it is the pointer that is constant, not what it points to.
            "const" if self.stars == 0 => self.is_const = true,
            "const" | "volatile" | "restrict" | "__restrict" | "__restrict__" | "__attribute__"
            | "__attribute" | "register" | "read_only" | "__read_only" | "write_only" | "__write_only"
            | "read_write" | "__read_write" => {}
            other => self.words.push(other.to_owned()),
        }
    }

    fn finish(mut self, kernel: &str, index: usize) -> Result<ArgumentInfo, ScanFault> {
        let missing = |wanted| Err(ScanFault::Argument { kernel: kernel.to_owned(), index, wanted });
        let Some(name) = self.words.pop() else { return missing("a type and a name") };
        let is_type_word = matches!(
            name.as_str(),
            "unsigned" | "signed" | "struct" | "union" | "enum" | "void" | "bool" | "pipe"
        ) || isochrone_model::kernel::value_bytes_of(&name).is_some();
        if self.words.is_empty() || is_type_word {
            return missing("a type and a name");
        }
        if self.words == ["void"] && self.stars == 0 {
            return missing("a type that has values");
        }
        let known_words =
            ["unsigned", "signed", "struct", "union", "enum", "pipe", "long", "short", "int", "char"];
        let plain = self.words.iter().filter(|word| !known_words.contains(&word.as_str())).count();
        if plain > 1 {
            // `REAL_PTR data extra`: most likely a macro that was not defined.
            return missing("one type and one name; is a macro not defined?");
        }
        let is_image = self.words.iter().any(|word| word.starts_with("image") && word.ends_with("_t"));
        let space = match (self.space, self.stars > 0) {
            (Some(AddressSpace::Private) | None, true) => {
                return Err(ScanFault::NoAddressSpace { kernel: kernel.to_owned(), index });
            }
            (Some(space), _) => space,
            (None, false) if is_image => AddressSpace::Global,
            (None, false) => AddressSpace::Private,
        };
        let raw = format!("{}{}", self.words.join(" "), "*".repeat(self.stars));
        Ok(argument_info(name, &raw, space, self.is_const))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures as `name(space type name, ...)`, with `const` where contents cannot change.
    fn shown(source: &str, options: &str) -> String {
        let shown_argument = |argument: &ArgumentInfo| {
            let space = match argument.address_space {
                AddressSpace::Global => "global ",
                AddressSpace::Constant => "constant ",
                AddressSpace::Local => "local ",
                AddressSpace::Private => "",
            };
            let constness = if argument.is_const { "const " } else { "" };
            let size = argument.value_bytes.map_or(String::new(), |bytes| format!(":{bytes}"));
            format!("{constness}{space}{} {}{size}", argument.type_name, argument.name)
        };
        let shown_kernel = |kernel: &KernelSignature| {
            let arguments: Vec<String> = kernel.arguments.iter().map(shown_argument).collect();
            format!("{}({})", kernel.name, arguments.join(", "))
        };
        match scan(source, options) {
            Ok(kernels) => kernels.iter().map(shown_kernel).collect::<Vec<_>>().join("; "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn signatures_that_compilers_accept_are_read() {
        let cases: [(&str, &str); 22] = [
            ("", ""),
            ("__kernel void f() {}", "f()"),
            ("kernel void f(void) { }", "f()"),
            ("__kernel void f(__global float *x) {}", "f(global float* x)"),
            ("kernel void f(global const float* restrict x) {}", "f(const global float* x)"),
            ("kernel void f(const global float* x) {}", "f(const global float* x)"),
            ("kernel void f(global float const *x) {}", "f(const global float* x)"),
            ("kernel void f(global float * const x) {}", "f(global float* x)"),
            ("kernel void f(__constant int *t, uint n) {}", "f(const constant int* t, uint n:4)"),
            ("kernel void f(__local float4 *room) {}", "f(local float4* room)"),
            ("kernel void f(const unsigned int n, unsigned long m) {}", "f(uint n:4, ulong m:8)"),
            ("kernel void f(unsigned n, long int m) {}", "f(uint n:4, long m:8)"),
            (
                "kernel void f(struct point p, global struct point *q) {}",
                "f(struct point p, global struct point* q)",
            ),
            ("kernel void f(point_t p, size_t n) {}", "f(point_t p, size_t n)"),
            ("kernel void f(global float x[]) {}", "f(global float* x)"),
            ("kernel void b(int i) { if (i) { } }\nkernel void a(char c) {}", "a(char c:1); b(int i:4)"),
            ("__kernel __attribute__((reqd_work_group_size(8, 1, 1))) void f(int i) {}", "f(int i:4)"),
            ("__attribute__((x)) kernel void __attribute__((y(1))) f(float3 v) {}", "f(float3 v:16)"),
            ("kernel void f(int i);\nkernel void f(int i) {}", "f(int i:4)"),
            ("// kernel void no() {}\n/* kernel void no() {} */ kernel void f() { /* } */ }", "f()"),
            (
                "#define X {\n#if 1 \\\n kernel void no()\n#endif\nkernel void f(int i) { int kernel_ = 1; }",
                "f(int i:4)",
            ),
            (
                "constant char *s = \"kernel void no() {\"; float g(float x) { return x; } kernel void f(double d) {}",
                "f(double d:8)",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(shown(source, ""), expected, "{source}");
        }
    }

    #[test]
    fn definitions_in_the_options_stand_for_their_words() {
        let source = "kernel void f(global REAL *x, REAL a, INDEX n) {}";
        let expected = "f(global double* x, double a:8, uint n:4)";
        for options in [
            "-DREAL=double -DINDEX=uint",
            "-D REAL=double -cl-mad-enable -D INDEX='unsigned int'",
            "-DREAL=T -DT=double \"-DINDEX=unsigned int\"",
        ] {
            assert_eq!(shown(source, options), expected, "{options}");
        }
        assert_eq!(shown(source, ""), "f(global REAL* x, REAL a, INDEX n)");
        // A definition in terms of itself ends.
        assert_eq!(shown("kernel void f(A a) {}", "-DA=B -DB=A -DC=C"), "f(B a)");
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        let cases: [(&str, &str); 14] = [
            ("\n\nkernel int f() {}", "line 3: kernel return type must be void"),
            ("kernel void f(int i) {", "line 1: brackets do not match: `{`"),
            ("kernel void f(int i) }", "line 1: a kernel needs a body here"),
            ("}", "line 1: brackets do not match: `}`"),
            ("kernel void f(int i {}", "line 1: brackets do not match: `(`"),
            ("kernel void (int i) {}", "line 1: a kernel needs a name here"),
            ("kernel void f {}", "line 1: a kernel needs `(` here"),
            (
                "kernel void f(int a,\n float *x) {}",
                "line 2: argument 1 of f: a pointer needs an address space: __global, __constant or __local",
            ),
            ("kernel void f(int) {}", "line 1: argument 0 of f: needs a type and a name"),
            ("kernel void f(int a,) {}", "line 1: argument 1 of f: needs a type and a name"),
            (
                "kernel void f(GLOBAL float x) {}",
                "line 1: argument 0 of f: needs one type and one name; is a macro not defined?",
            ),
            ("/* no end", "line 1: a comment does not end"),
            ("kernel void f() {}\nkernel void f() {}", "line 2: redefinition of kernel f"),
            ("kernel void f(int a = 3) {}", "line 1: argument 0 of f: needs a plain type"),
        ];
        for (source, expected) in cases {
            assert_eq!(shown(source, ""), format!("error: {expected}"), "{source}");
        }
        assert!(shown("constant char *s = \"no end\n\";", "").contains("a string does not end"));
    }

    #[test]
    fn any_text_is_scanned_without_a_panic() {
        // Cut a source with everything in it at each place.
        let source = "#if 1 /* a\n*/\nkernel void __attribute__((x(\"\\\"\"))) f(global const REAL *x[2], \\\n int n) { 'c'; }";
        let letters: Vec<char> = source.chars().collect();
        for start in 0..letters.len() {
            for end in start..=letters.len() {
                let cut: String = letters[start..end].iter().collect();
                let _either = scan(&cut, &cut);
            }
        }
        assert_eq!(shown(source, "-DREAL=half"), "f(const global half** x, int n:4)");
    }
}
