import fc from 'fast-check';

/** Values that fit a schema of the OpenAPI document, and values that do not. */

export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/** Keeps what is generated small; that large things are bounded is tested elsewhere. */
const MOST_CHARACTERS = 12;
const MOST_ITEMS = 4;

/** `resolve` gives the schema that a reference names. */
export function fitting(schema: Schema, resolve: (reference: string) => Schema): fc.Arbitrary<unknown> {
  const part = (inner: Schema) => fitting(inner, resolve);
  if (schema.examples) {
    const { examples, ...rest } = schema;
    return fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...examples) }, { weight: 1, arbitrary: part(rest) });
  }
  if (schema.$ref) return part(resolve(schema.$ref));
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(part));
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.type === 'string') return text(schema);
  if (schema.type === 'boolean') return fc.boolean();
  if (schema.type === 'integer') return fc.oneof(small(schema), fc.integer(bounds(schema)));
  if (schema.type === 'array' && schema.items) {
    const minLength = schema.minItems ?? 0;
    return fc.array(part(schema.items), { minLength, maxLength: Math.max(minLength, MOST_ITEMS) });
  }
  if (schema.type !== 'object') throw new Error(`No values of ${JSON.stringify(schema)}.`);
  const fields = Object.entries(schema.properties ?? {}).map(([key, inner]) => [key, part(inner)] as const);
  return fc.record(Object.fromEntries(fields), { requiredKeys: [...(schema.required ?? [])] });
}

const bounds = ({ minimum, maximum }: Schema) => ({
  min: minimum ?? Number.MIN_SAFE_INTEGER,
  max: maximum ?? Number.MAX_SAFE_INTEGER,
});

/** Most people's numbers. */
function small(schema: Schema): fc.Arbitrary<number> {
  const { min, max } = bounds(schema);
  return fc.integer({ min: Math.max(min, -100), max: Math.min(max, 100) });
}

/** Names that meet again and that classes are for, and any text. */
const KNOWN = ['a', 'views:/', 'visitors:/', '{tag}a', '{tag}b', '1h', '2026-11-27', 'UTC', 'é/😀'];

function text({ pattern, minLength = 0, maxLength = 1_024 }: Schema): fc.Arbitrary<string> {
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  const known = KNOWN.filter(({ length }) => length >= minLength && length <= maxLength);
  const any = fc.string({ minLength, maxLength: Math.min(maxLength, MOST_CHARACTERS), unit: 'grapheme' });
  return fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: any });
}

/** Something else somewhere: a part that is gone, too much, of another kind. */
export function unfitting(value: unknown): fc.Arbitrary<unknown> {
  const junk = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(null, '', -1, 1.5, 1e300, '__proto__', [], {}));
  if (typeof value !== 'object' || value === null) return junk;
  const keys = Object.keys(value);
  if (keys.length === 0)
    return fc.oneof(
      junk,
      junk.map((part) => ({ [`x`]: part })),
    );
  const change = fc.constantFrom(...keys).chain((key) => {
    const inner = unfitting((value as Record<string, unknown>)[key]);
    return inner.map((part) =>
      Array.isArray(value) ? value.map((old, i) => (String(i) === key ? part : old)) : { ...value, [key]: part },
    );
  });
  const removal = fc
    .constantFrom(...keys)
    .map((key) => Object.fromEntries(Object.entries(value).filter(([k]) => k !== key)));
  const addition = fc
    .tuple(fc.constantFrom('extra', '__proto__', 'toString', 'operations'), junk)
    .map(([key, part]) => ({ ...value, [key]: part }));
  return fc.oneof({ weight: 4, arbitrary: change }, removal, addition, junk);
}
