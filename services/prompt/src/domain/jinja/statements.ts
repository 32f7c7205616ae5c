import { Picture } from '../template.ts';
import type { Node } from './ast.ts';
import { type Compilation, type Frame, Scope, type Statement } from './compiler.ts';
import { type Data, isList, items, kind, text, truth, wrong } from './data.ts';
import { expression, filter } from './expressions.ts';

/** Statements one after the other. */
export function block(body: readonly Node[], to: Compilation): Statement {
  const made = body.filter((node) => node.type !== 'Comment').map((node) => statement(node, to));
  return (frame) => {
    for (const one of made) {
      const left = one(frame);
      if (left) return left;
    }
    return undefined;
  };
}

function statement(node: Node, to: Compilation): Statement {
  switch (node.type) {
    case 'If':
      return condition(node, to);
    case 'For':
      return to.within(() => loop(node, to));
    case 'Set':
      return assignment(node, to);
    case 'FilterStatement':
      return filtered(node, to);
    case 'Break':
    case 'Continue': {
      if (to.loops === 0) to.fail(`${node.type.toLowerCase()} stands in no loop`);
      const how = node.type === 'Break' ? 'break' : 'continue';
      return () => how;
    }
    case 'Macro':
    case 'CallStatement':
      return to.fail('macros are not taken; make the text a prompt of its own and include it');
    default:
      return output(node, to);
  }
}

function output(node: Node, to: Compilation): Statement {
  if (node.type === 'StringLiteral') {
    const { value } = node;
    return ({ run }) => {
      run.budget.emit(value);
      return undefined;
    };
  }
  const made = expression(node, to);
  return (frame) => {
    const value = made(frame);
    const { budget } = frame.run;
    if (value instanceof Picture) budget.emitImage(value.variable, value.reference);
    else budget.emit(text(value, budget));
    return undefined;
  };
}

function condition(node: Extract<Node, { type: 'If' }>, to: Compilation): Statement {
  return to.within(() => {
    const test = expression(node.test, to);
    const [body, other] = [block(node.body, to), block(node.alternate, to)];
    return (frame) => (truth(test(frame)) ? body(frame) : other(frame));
  });
}

function loop(node: Extract<Node, { type: 'For' }>, to: Compilation): Statement {
  // `for x in xs if x.good`: what is left out does not count.
  const { iterable, test } =
    node.iterable.type === 'SelectExpression'
      ? { iterable: node.iterable.lhs, test: node.iterable.test }
      : { iterable: node.iterable, test: undefined };
  const list = expression(iterable, to);
  const names = namesOf(node.loopvar, to);
  to.loops++;
  const [keep, body] = to.scoped([...names, 'loop'], () => [
    test ? expression(test, to) : undefined,
    block(node.body, to),
  ]);
  to.loops--;
  const otherwise = to.scoped([], () => block(node.defaultBlock, to));
  return ({ run, scope }) => {
    const frameOf = (item: Data): Frame => {
      const inner = new Scope(scope);
      assign(names, item, inner);
      return { run, scope: inner };
    };
    const all = items(list({ run, scope }), run.budget);
    const kept = keep ? all.filter((item) => truth(keep(frameOf(item)))) : all;
    for (const [i, item] of kept.entries()) {
      run.budget.charge(80);
      const frame = frameOf(item);
      frame.scope.set('loop', place(i, kept));
      if (body(frame) === 'break') break;
    }
    return kept.length === 0 ? otherwise({ run, scope: new Scope(scope) }) : undefined;
  };
}

const place = (i: number, all: readonly Data[]): Data =>
  new Map<string, Data>([
    ['index', i + 1],
    ['index0', i],
    ['revindex', all.length - i],
    ['revindex0', all.length - i - 1],
    ['first', i === 0],
    ['last', i === all.length - 1],
    ['length', all.length],
    ['previtem', all[i - 1] ?? null],
    ['nextitem', all[i + 1] ?? null],
  ]);

function namesOf(node: Node, to: Compilation): string[] {
  const nodes = node.type === 'TupleLiteral' ? node.value : [node];
  return nodes.map((one) => (one.type === 'Identifier' ? one.value : to.fail('only names can be set')));
}

function assign(names: readonly string[], value: Data, scope: Scope): void {
  if (names.length === 1) {
    scope.set(names[0]!, value);
    return;
  }
  if (!isList(value) || value.length !== names.length)
    throw wrong(`${names.join(', ')} need a list of ${names.length}, and not ${kind(value)}`);
  for (const [i, name] of names.entries()) scope.set(name, value[i]!);
}

function assignment(node: Extract<Node, { type: 'Set' }>, to: Compilation): Statement {
  const names = namesOf(node.assignee, to);
  const value = node.value ? expression(node.value, to) : undefined;
  const body = value ? undefined : to.scoped([], () => block(node.body, to));
  for (const name of names) to.bind(name);
  return (frame) => {
    const made = value ? value(frame) : captured(frame, body!);
    assign(names, made, frame.scope);
    return undefined;
  };
}

function filtered(node: Extract<Node, { type: 'FilterStatement' }>, to: Compilation): Statement {
  const body = to.scoped([], () => block(node.body, to));
  const made = filter(node.filter, (frame) => captured(frame, body), to);
  return (frame) => {
    const { budget } = frame.run;
    budget.emit(text(made(frame), budget));
    return undefined;
  };
}

const captured = ({ run, scope }: Frame, body: Statement): string =>
  run.budget.capture(() => void body({ run, scope: new Scope(scope) }));
