//! The words of the DOT language. Must never hold what they mean.

use super::super::{Found, Place, ReadProblem};

/// A word of a DOT file and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A name, a number or a quoted text; whether it was quoted.
    Word(String, bool),
    /// One of `{ } [ ] = ; , :`.
    Sign(char),
    /// `->`.
    Arrow,
    /// The end of the file.
    End,
}

impl Token {
    pub fn place(&self) -> Place {
        Place::Line { line: self.line, column: self.column }
    }

    /// The token in messages.
    pub fn shown(&self) -> String {
        match &self.kind {
            TokenKind::Word(word, _) => format!("`{word}`"),
            TokenKind::Sign(sign) => format!("`{sign}`"),
            TokenKind::Arrow => "`->`".to_owned(),
            TokenKind::End => "the end of the file".to_owned(),
        }
    }

    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == TokenKind::Sign(sign)
    }

    /// Whether this is that keyword: keywords are unquoted, in any case.
    pub fn is_keyword(&self, keyword: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(word, false) if word.eq_ignore_ascii_case(keyword))
    }
}

/// Reads word after word.
pub(super) struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    column: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Self {
        Tokens { rest: text.chars().peekable(), line: 1, column: 1 }
    }

    fn advance(&mut self) -> Option<char> {
        let letter = self.rest.next()?;
        if letter == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(letter)
    }

    /// The next word; [`TokenKind::End`] again and again at the end.
    pub fn next(&mut self) -> Result<Token, Found> {
        loop {
            let (line, column) = (self.line, self.column);
            let token = |kind| Ok(Token { kind, line, column });
            let failed = |problem| Err((Place::Line { line, column }, problem));
            let Some(letter) = self.advance() else { return token(TokenKind::End) };
            match letter {
                letter if letter.is_whitespace() || letter == '\u{feff}' => {}
                // A line that starts with `#` is for the preprocessor.
                '#' if column == 1 => self.skip_line(),
                '/' if self.rest.peek() == Some(&'/') => self.skip_line(),
                '/' if self.rest.peek() == Some(&'*') => {
                    if !self.skip_comment() {
                        return failed(expected("`*/` at the end of the comment", "the end of the file"));
                    }
                }
                '{' | '}' | '[' | ']' | '=' | ';' | ',' | ':' => return token(TokenKind::Sign(letter)),
                '-' if self.rest.peek() == Some(&'>') => {
                    self.advance();
                    return token(TokenKind::Arrow);
                }
                '-' if self.rest.peek() == Some(&'-') => {
                    let what = "an edge without direction (`--`)".to_owned();
                    return failed(ReadProblem::Unsupported { what, hint: "write `->`" });
                }
                '"' => match self.quoted() {
                    Some(text) => return token(TokenKind::Word(text, true)),
                    None => return failed(expected("`\"` at the end of the text", "the end of the file")),
                },
                '<' => {
                    let what = "an HTML text (`<...>`)".to_owned();
                    return failed(ReadProblem::Unsupported { what, hint: "write it in quotes" });
                }
                letter if is_word(letter) || letter == '-' || letter == '.' => {
                    let mut word = String::from(letter);
                    while let Some(&next) = self.rest.peek() {
                        if !is_word(next) && next != '.' {
                            break;
                        }
                        word.push(next);
                        self.advance();
                    }
                    return token(TokenKind::Word(word, false));
                }
                other => {
                    return failed(expected("a name, a text in quotes or a sign", &format!("`{other}`")));
                }
            }
        }
    }

    fn skip_line(&mut self) {
        while self.advance().is_some_and(|letter| letter != '\n') {}
    }

    /// Whether the comment has an end.
    fn skip_comment(&mut self) -> bool {
        self.advance();
        let mut before = ' ';
        while let Some(letter) = self.advance() {
            if before == '*' && letter == '/' {
                return true;
            }
            before = letter;
        }
        false
    }

    /// The text up to the closing quote: `\"` is a quote, a backslash before the end of a line joins the lines, and
    /// every other backslash stays (`\n` means a new line to Graphviz's drawing only).
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.advance()? {
                '"' => return Some(text),
                '\\' => match self.rest.peek() {
                    Some('"') => text.extend(self.advance()),
                    Some('\\') => {
                        text.push('\\');
                        text.extend(self.advance());
                    }
                    Some('\n') => {
                        self.advance();
                    }
                    Some(_) | None => text.push('\\'),
                },
                letter => text.push(letter),
            }
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn expected(what: &str, found: &str) -> ReadProblem {
    ReadProblem::Expected { expected: what.to_owned(), found: found.to_owned() }
}
