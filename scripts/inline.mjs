import { Node, NodeKind } from 'assemblyscript';
import { Transform } from 'assemblyscript/transform';

const MARK = '// @inline\n';

/**
 * A step of the kernel's compiler. A function behind a line `// @inline` is put in the place of its calls, as by AssemblyScript's decorator of that name,
 * which TypeScript's tools can't read on a function.
 */
export default class Inline extends Transform {
  afterParse(parser) {
    for (const source of parser.sources) {
      for (const statement of source.statements) {
        if (statement.kind !== NodeKind.FunctionDeclaration || !isMarked(source.text, statement.range.start)) continue;
        const { range } = statement;
        const decorator = Node.createDecorator(Node.createIdentifierExpression('inline', range), null, range);
        statement.decorators = [...(statement.decorators ?? []), decorator];
      }
    }
  }
}

function isMarked(text, start) {
  return text
    .slice(0, start)
    .replace(/export\s+$/, '')
    .endsWith(MARK);
}
