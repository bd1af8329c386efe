/**
 * Characters to tokens of InfluxQL.
 *
 * Works on demand and one token at a time, because what a slash begins (division, a comment or a regular expression)
 * is known to the parser alone. Positions are offsets; line and character are computed only for an error.
 */

/** Keyword in capitals, operator as written, or one of the names in TokenKind. */
export interface Token {
  readonly kind: string;
  /** Text of identifiers, literals and unknown characters; '' for keywords and operators. */
  readonly literal: string;
  readonly offset: number;
  /** What InfluxDB adds to the character's number: 1 for an end that was read over, -1 for strings and expressions. */
  readonly shift: number;
}

const KEYWORDS = new Set(
  `ALL ALTER ANALYZE ANY AS ASC BEGIN BY CARDINALITY CREATE CONTINUOUS DATABASE DATABASES DEFAULT DELETE DESC
   DESTINATIONS DIAGNOSTICS DISTINCT DROP DURATION END EVERY EXACT EXPLAIN FIELD FOR FROM GRANT GRANTS GROUP GROUPS IN
   INF INSERT INTO KEY KEYS KILL LIMIT SHOW MEASUREMENT MEASUREMENTS NAME OFFSET ON ORDER PASSWORD POLICY POLICIES
   PRIVILEGES QUERIES QUERY READ REPLICATION RESAMPLE RETENTION REVOKE SELECT SERIES SET SHARD SHARDS SLIMIT SOFFSET
   STATS SUBSCRIPTION SUBSCRIPTIONS TAG TO USER USERS VALUES WHERE WITH WRITE AND OR TRUE FALSE`.split(/\s+/),
);

/** Whether a name must be quoted to be read back as an identifier. */
export function isKeyword(text: string): boolean {
  return KEYWORDS.has(text.toUpperCase());
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isLetter = (code: number): boolean => (code >= 97 && code <= 122) || (code >= 65 && code <= 90);
const isNameStart = (code: number): boolean => isLetter(code) || code === 95;
const isNamePart = (code: number): boolean => isNameStart(code) || isDigit(code);
const isSpace = (code: number): boolean => code === 32 || code === 9 || code === 10 || code === 13;
const isUnitPart = (code: number): boolean => isLetter(code) || code === 0xb5;

const SINGLE = new Set('+*%&|^(),;=<>:.'.split(''));
/** `=`, `!`, `<`, `>`, `:` */
const canBePair = (code: number): boolean => (code >= 60 && code <= 62) || code === 33 || code === 58;
const DOUBLE = new Set(['=~', '!=', '!~', '>=', '<=', '<>', '::']);

export class Lexer {
  readonly text: string;
  offset = 0;
  private endReadOver = false;

  constructor(text: string) {
    this.text = text;
  }

  /** Character code at the read position, NaN at the end. */
  peek(): number {
    if (this.offset >= this.text.length) this.endReadOver = true;
    return this.text.charCodeAt(this.offset);
  }

  skipSpace(): boolean {
    const from = this.offset;
    while (isSpace(this.text.charCodeAt(this.offset))) this.offset++;
    if (this.offset > from) this.noteEnd();
    return this.offset > from;
  }

  /** The next token; white space and comments are tokens 'WS' and 'COMMENT'. */
  next(): Token {
    const start = this.offset;
    const code = this.text.charCodeAt(start);
    if (start >= this.text.length) return this.end();
    if (isSpace(code)) {
      this.skipSpace();
      return this.token('WS', ' ', start);
    }
    if (isNameStart(code) || code === 34) return this.name(start, true);
    if (isDigit(code)) return this.number(start);
    if (code === 39) return this.quoted(start);
    const character = this.text[start] as string;
    if (character === '.' && isDigit(this.text.charCodeAt(start + 1))) return this.number(start);
    if (character === '$') {
      this.offset++;
      const name = this.name(start, false);
      return name.kind === 'IDENT' ? this.token('BOUNDPARAM', name.literal, start) : name;
    }
    if (character === '-') {
      if (this.text[start + 1] !== '-') return this.operator('-', start);
      while (this.offset < this.text.length && !isLineEnd(this.text.charCodeAt(this.offset))) this.offset++;
      if (this.offset < this.text.length) this.offset++;
      else this.noteEnd();
      return this.token('COMMENT', '', start);
    }
    if (character === '/') return this.slash(start);
    if (canBePair(code)) {
      const pair = this.text.slice(start, start + 2);
      if (DOUBLE.has(pair)) return this.operator(pair, start, pair === '<>' ? '!=' : pair);
    }
    if (SINGLE.has(character)) return this.operator(character, start);
    const whole = String.fromCodePoint(this.text.codePointAt(start) as number);
    this.offset += whole.length;
    return this.token('ILLEGAL', whole, start);
  }

  /** A regular expression whose opening slash is at the read position. */
  regex(): Token {
    const start = this.offset;
    let pattern = '';
    for (let at = start + 1; at < this.text.length; at++) {
      const character = this.text[at] as string;
      if (character === '/') {
        this.offset = at + 1;
        return this.token('REGEX', pattern, start, -1);
      }
      if (isLineEnd(character.charCodeAt(0))) break;
      if (character === '\\' && at + 1 < this.text.length) {
        const escaped = this.text[++at] as string;
        pattern += escaped === '/' ? '/' : `\\${escaped}`;
      } else pattern += character;
    }
    this.offset = this.text.length;
    this.noteEnd();
    return this.token('BADREGEX', '', start, -1);
  }

  /** Line and character, from 1, of a token. */
  position(token: Token): { line: number; character: number } {
    let line = 1;
    let character = 1;
    for (let at = 0; at < token.offset; at++) {
      const code = this.text.charCodeAt(at);
      if (code === 13 && this.text.charCodeAt(at + 1) === 10) continue;
      if (isLineEnd(code)) {
        line++;
        character = 1;
      } else if (code < 0xdc00 || code > 0xdfff) character++;
    }
    return { line, character: character + token.shift };
  }

  private token(kind: string, literal: string, offset: number, shift = 0): Token {
    return { kind, literal, offset, shift };
  }

  private end(): Token {
    const token = { kind: 'EOF', literal: '', offset: this.text.length, shift: this.endReadOver ? 1 : 0 };
    this.endReadOver = true;
    return token;
  }

  private noteEnd(): void {
    if (this.offset >= this.text.length) this.endReadOver = true;
  }

  private operator(text: string, start: number, kind = text): Token {
    this.offset = start + text.length;
    return this.token(kind, '', start);
  }

  private slash(start: number): Token {
    if (this.text[start + 1] !== '*') return this.operator('/', start);
    const close = this.text.indexOf('*/', start + 2);
    this.offset = close < 0 ? this.text.length : close + 2;
    if (close < 0) this.noteEnd();
    return this.token(close < 0 ? 'ILLEGAL' : 'COMMENT', '', start);
  }

  private name(start: number, keywords: boolean): Token {
    if (this.text.charCodeAt(this.offset) === 34) return this.quoted(start);
    const { text } = this;
    const from = this.offset;
    let at = from;
    let isWord = keywords;
    for (let code = text.charCodeAt(at); isNamePart(code); code = text.charCodeAt(++at)) isWord &&= isLetter(code);
    this.offset = at;
    if (text.charCodeAt(at) === 34) return this.quoted(start);
    this.noteEnd();
    const name = text.slice(from, at);
    // Keywords are of letters alone; most names are not, and need no capitals to be told from them.
    const upper = isWord ? name.toUpperCase() : '';
    return KEYWORDS.has(upper) ? this.token(upper, '', start) : this.token('IDENT', name, start);
  }

  /** A string or a quoted identifier; the quote is at the read position. */
  private quoted(start: number): Token {
    const quote = this.text[this.offset] as string;
    let plain = this.offset + 1;
    while (isPlainInQuotes(this.text.charCodeAt(plain), quote)) plain++;
    let value = this.text.slice(this.offset + 1, plain);
    for (let at = plain; at < this.text.length; at++) {
      const character = this.text[at] as string;
      if (character === quote) {
        this.offset = at + 1;
        return quote === '"' ? this.token('IDENT', value, start) : this.token('STRING', value, start, -1);
      }
      if (isLineEnd(character.charCodeAt(0))) {
        this.offset = at + 1;
        return this.token('BADSTRING', value, start, -1);
      }
      if (character !== '\\') {
        value += character;
        continue;
      }
      const escaped = this.text[++at];
      if (escaped === 'n') value += '\n';
      else if (escaped === '\\' || escaped === '"' || escaped === "'") value += escaped;
      else {
        this.offset = Math.min(at + 1, this.text.length);
        this.noteEnd();
        return this.token('BADESCAPE', `\\${escaped ?? ''}`, Math.min(at, this.text.length));
      }
    }
    this.offset = this.text.length;
    this.noteEnd();
    return this.token('BADSTRING', value, start, -1);
  }

  /** Integer, decimal number, or duration (digits with letters behind them). */
  private number(start: number): Token {
    const digits = (): void => {
      while (isDigit(this.text.charCodeAt(this.offset))) this.offset++;
    };
    digits();
    if (this.text[this.offset] === '.') {
      this.offset++;
      const fraction = this.offset;
      digits();
      const literal = this.text.slice(start, this.offset > fraction ? this.offset : fraction - 1);
      return this.token('NUMBER', literal, start);
    }
    if (!isUnitPart(this.text.charCodeAt(this.offset))) {
      return this.token('INTEGER', this.text.slice(start, this.offset), start);
    }
    while (isUnitPart(this.text.charCodeAt(this.offset)) || isDigit(this.text.charCodeAt(this.offset))) this.offset++;
    return this.token('DURATIONVAL', this.text.slice(start, this.offset), start);
  }
}

/** Stands for itself; false at the end of the text. */
function isPlainInQuotes(code: number, quote: string): boolean {
  return code >= 32 && code !== 92 && code !== quote.charCodeAt(0);
}

function isLineEnd(code: number): boolean {
  return code === 10 || code === 13;
}
