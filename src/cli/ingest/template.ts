import { TallystickError } from '../../errors.js';

/** A counter's name with fields in braces, as literal text and field names in turn: text, field, text, …, text. */
export interface Template {
  readonly source: string;
  /** One more than there are fields. */
  readonly literals: readonly string[];
  readonly fields: readonly string[];
}

/**
 * Parses `views:{path}`. `{{` and `}}` are literal braces, so `likes{{post:{id}}}` makes names like `likes{post:7}`.
 *
 * @throws TallystickError INVALID_ARGUMENT for a brace without its partner and for `{}`
 */
export function parseTemplate(source: string): Template {
  const literals: string[] = [];
  const fields: string[] = [];
  let literal = '';
  for (let at = 0; at < source.length; at += 1) {
    const char = source[at] as string;
    if (char !== '{' && char !== '}') {
      literal += char;
    } else if (source[at + 1] === char) {
      literal += char;
      at += 1;
    } else {
      const close = char === '{' ? source.indexOf('}', at) : -1;
      const field = source.slice(at + 1, Math.max(close, at + 1));
      if (field === '' || field.includes('{')) throw badTemplate(source, at);
      literals.push(literal);
      fields.push(field);
      literal = '';
      at = close;
    }
  }
  if (source === '') throw badTemplate(source, 0);
  return { source, literals: [...literals, literal], fields };
}

function badTemplate(source: string, at: number): TallystickError {
  const what = source === '' ? 'The template is empty.' : `The template '${source}' has a stray brace at ${at + 1}.`;
  return new TallystickError('INVALID_ARGUMENT', `${what} Write a field as {field} and a literal brace as {{ or }}.`);
}

/** A template and the field whose number is added to the counter, from `TEMPLATE=FIELD` (split at the last `=`). */
export interface Sum {
  readonly template: Template;
  readonly field: string;
}

export function parseSum(source: string): Sum {
  const split = source.lastIndexOf('=');
  if (split <= 0 || split === source.length - 1)
    throw new TallystickError('INVALID_ARGUMENT', `'${source}' is not of the form TEMPLATE=FIELD.`);
  return { template: parseTemplate(source.slice(0, split)), field: source.slice(split + 1) };
}

/** A template of the name, and one of the item that was seen under it, from `TEMPLATE=TEMPLATE` (split at the last `=`). */
export interface Sighting {
  readonly name: Template;
  readonly item: Template;
}

export function parseSighting(source: string): Sighting {
  const split = source.lastIndexOf('=');
  if (split <= 0 || split === source.length - 1)
    throw new TallystickError(
      'INVALID_ARGUMENT',
      `'${source}' is not of the form TEMPLATE=ITEM, such as visitors:{path}={ip}.`,
    );
  return { name: parseTemplate(source.slice(0, split)), item: parseTemplate(source.slice(split + 1)) };
}

/** A condition, from `FIELD=VALUE` (split at the first `=`): the field's text is exactly the value. */
export interface Where {
  readonly field: string;
  readonly value: string;
}

export function parseWhere(source: string): Where {
  const split = source.indexOf('=');
  if (split <= 0) throw new TallystickError('INVALID_ARGUMENT', `'${source}' is not of the form FIELD=VALUE.`);
  return { field: source.slice(0, split), value: source.slice(split + 1) };
}
