import { REFERENCE } from '../template.ts';
import type { Node } from './ast.ts';
import type { Compilation, Expression, Frame } from './compiler.ts';
import { type Data, isList, isMap, items, kind, number, truth, wrong } from './data.ts';
import { FILTERS, KEYWORDS, TESTS } from './filters.ts';
import { OPERATORS } from './operators.ts';

const CONSTANTS: ReadonlyMap<string, Data> = new Map<string, Data>([
  ...(['true', 'True'] as const).map((name) => [name, true] as const),
  ...(['false', 'False'] as const).map((name) => [name, false] as const),
  ...(['none', 'None', 'null'] as const).map((name) => [name, null] as const),
]);
/** Names by which objects of a host are reached; here they reach nothing, and whoever writes them is told. */
const FORBIDDEN = /^_|^(constructor|prototype)$/;

/** Makes a function of an expression. @throws LandfallError INVALID_ARGUMENT for what is not taken */
export function expression(node: Node, to: Compilation): Expression {
  const make = to.within(() => read(node, to));
  return (frame) => {
    frame.run.budget.charge(1);
    return make(frame);
  };
}

function read(node: Node, to: Compilation): Expression {
  switch (node.type) {
    case 'StringLiteral':
    case 'IntegerLiteral':
    case 'FloatLiteral': {
      const { value } = node;
      return () => value;
    }
    case 'Identifier':
      return identifier(node.value, to);
    case 'ArrayLiteral':
    case 'TupleLiteral': {
      const made = node.value.map((item) => expression(item, to));
      return (frame) => made.map((item) => item(frame));
    }
    case 'ObjectLiteral':
      return mapOf(node.value, to);
    case 'MemberExpression':
      return member(node, to);
    case 'CallExpression':
      return call(node, to);
    case 'BinaryExpression':
      return binary(node, to);
    case 'UnaryExpression': {
      const argument = expression(node.argument, to);
      if (node.operator.value === 'not') return (frame) => !truth(argument(frame));
      const sign = node.operator.value === '-' ? -1 : 1;
      return (frame) => sign * number(argument(frame), 'a sign');
    }
    case 'FilterExpression':
      return filter(node.filter, expression(node.operand, to), to);
    case 'TestExpression': {
      const test = TESTS.get(node.test.value);
      if (!test) to.fail(`'is ${node.test.value}' is no test; there are ${[...TESTS.keys()].join(', ')}`);
      const operand = expression(node.operand, to);
      return (frame) => test(operand(frame)) !== node.negate;
    }
    case 'Ternary':
      return choice(node.condition, node.trueExpr, node.falseExpr, to);
    case 'SelectExpression':
      return choice(node.test, node.lhs, undefined, to);
    default:
      return to.fail(`${node.type} is not taken`);
  }
}

function identifier(name: string, to: Compilation): Expression {
  if (CONSTANTS.has(name)) return () => CONSTANTS.get(name)!;
  if (FORBIDDEN.test(name) && name !== '_') to.fail(`'${name.slice(0, 64)}' is no name of a variable`);
  to.use(name);
  return ({ scope, run }) => scope.get(name) ?? (run.values.get(name) as Data | undefined) ?? null;
}

function mapOf(entries: ReadonlyMap<Node, Node>, to: Compilation): Expression {
  const made = [...entries].map(([key, value]) => [expression(key, to), expression(value, to)] as const);
  return (frame) =>
    new Map(
      made.map(([key, value]) => {
        const name = key(frame);
        if (typeof name !== 'string') throw wrong(`keys of maps are texts, and not ${kind(name)}`);
        return [name, value(frame)];
      }),
    );
}

function member(node: Extract<Node, { type: 'MemberExpression' }>, to: Compilation): Expression {
  const object = expression(node.object, to);
  const { property } = node;
  if (property.type === 'SliceExpression') return slice(object, property, to);
  if (!node.computed && property.type === 'Identifier') {
    const { value: name } = property;
    if (FORBIDDEN.test(name)) to.fail(`'.${name.slice(0, 64)}' leads nowhere: values are data alone`);
    return (frame) => at(object(frame), name);
  }
  if (property.type === 'StringLiteral' && FORBIDDEN.test(property.value))
    to.fail(`'${property.value.slice(0, 64)}' leads nowhere: values are data alone`);
  const key = expression(property, to);
  return (frame) => {
    const value = object(frame);
    const place = key(frame);
    if (typeof value !== 'string') return at(value, place);
    return at(items(value, frame.run.budget), place);
  };
}

/** A member of a map by its key, an item of a list by its place from 0 (from the end below 0). */
function at(value: Data, key: Data): Data {
  if (isMap(value)) return (typeof key === 'string' ? value.get(key) : undefined) ?? null;
  if (isList(value)) return (typeof key === 'number' ? value.at(key) : undefined) ?? null;
  return null;
}

function slice(
  object: Expression,
  node: Extract<Node, { type: 'SliceExpression' }>,
  to: Compilation,
): Expression {
  if (node.step) to.fail('a slice with a step is not taken');
  const bound = (part: Node | undefined) => {
    const made = part && expression(part, to);
    return (frame: Frame) => (made ? number(made(frame), 'a slice') : undefined);
  };
  const [start, stop] = [bound(node.start), bound(node.stop)];
  return (frame) => {
    const value = object(frame);
    const cut = items(value, frame.run.budget).slice(start(frame), stop(frame));
    frame.run.budget.charge(cut.length);
    return typeof value === 'string' ? cut.join('') : cut;
  };
}

function call({ callee, args }: Extract<Node, { type: 'CallExpression' }>, to: Compilation): Expression {
  if (callee.type === 'Identifier' && callee.value === 'range') return range(args, to);
  if (callee.type === 'Identifier' && callee.value === 'include') {
    const [reference] = args;
    if (reference?.type !== 'StringLiteral' || !REFERENCE.test(reference.value))
      to.fail('include names another prompt as "name@label" or "name/1.2.0"');
    to.parts.add(reference.value);
    const { value } = reference;
    return ({ run }) => {
      run.include(value);
      return null;
    };
  }
  const named = callee.type === 'Identifier' ? `${callee.value.slice(0, 64)}()` : 'this';
  return to.fail(
    `${named} can't be called: range() is the only function, and filters such as | upper do the rest`,
  );
}

function range(args: readonly Node[], to: Compilation): Expression {
  if (args.length < 1 || args.length > 3) to.fail('range takes one to three numbers');
  const made = args.map((argument) => expression(argument, to));
  return (frame) => {
    const given = made.map((argument) => Math.trunc(number(argument(frame), 'range')));
    const [from, until, step] =
      given.length === 1 ? [0, given[0]!, 1] : [given[0]!, given[1]!, given[2] ?? 1];
    if (step === 0) throw wrong('range has a step of 0');
    const count = Math.max(0, Math.ceil((until - from) / step));
    frame.run.budget.charge(4 * count);
    return Array.from({ length: count }, (_, i) => from + i * step);
  };
}

function binary(node: Extract<Node, { type: 'BinaryExpression' }>, to: Compilation): Expression {
  const [left, right] = [expression(node.left, to), expression(node.right, to)];
  const name = node.operator.value;
  if (name === 'and' || name === 'or') {
    return (frame) => {
      const value = left(frame);
      return truth(value) === (name === 'and') ? right(frame) : value;
    };
  }
  const operate = OPERATORS.get(name);
  if (!operate) to.fail(`'${name}' is no operator`);
  return (frame) => operate(left(frame), right(frame), frame.run.budget);
}

function choice(test: Node, yes: Node, no: Node | undefined, to: Compilation): Expression {
  const [condition, first] = [expression(test, to), expression(yes, to)];
  const second = no ? expression(no, to) : () => null;
  return (frame) => (truth(condition(frame)) ? first(frame) : second(frame));
}

/** A filter with its arguments, over an operand. */
export function filter(node: Node, operand: Expression, to: Compilation): Expression {
  const [name, args] =
    node.type === 'Identifier'
      ? [node.value, []]
      : node.type === 'CallExpression' && node.callee.type === 'Identifier'
        ? [node.callee.value, node.args]
        : to.fail('a filter is a name, with arguments or without');
  const alias = name === 'd' ? 'default' : name;
  const found = FILTERS.get(alias);
  if (!found) to.fail(`'${name.slice(0, 64)}' is no filter; there are ${[...FILTERS.keys()].join(', ')}`);
  const [apply, most] = found;
  const made: Expression[] = [];
  for (const argument of args) {
    const place =
      argument.type === 'KeywordArgumentExpression'
        ? (KEYWORDS.get(alias) ?? []).indexOf(argument.key.value)
        : made.length;
    if (place < 0 || place >= most)
      to.fail(`the filter '${alias}' does not take such an argument; it takes at most ${most}`);
    while (made.length < place) made.push(MISSING);
    made[place] = expression(argument.type === 'KeywordArgumentExpression' ? argument.value : argument, to);
  }
  return (frame) => {
    const given = made.map((argument) => (argument === MISSING ? undefined : argument(frame)));
    return apply(operand(frame), given as Data[], frame.run.budget);
  };
}

const MISSING: Expression = () => null;
