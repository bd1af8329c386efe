/** What the main thread answers with: numbers to text. Its memory never grows: views of it stay valid. */
export { alloc, free, pages, realloc } from './memory';
export { numberText, powersOfTen } from './answers/number-text';
export { rowTexts, rowsEnd } from './answers/rows';
