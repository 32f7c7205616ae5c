import type { Value } from '@landfall/graph/onnx/graph.ts';
import { squareProcessor } from '../square-processor.ts';
import { EOS, SPECIAL, TINY } from '../tiny-model.ts';
import { TinyGraph, writeExported } from './folder.ts';

const SIDE = 12;
const PATCH = 4;
const { hidden, vocabulary, context } = TINY;
const NEVER = -1e9;
/** Tokens of an image, which stand before the text's in the encoder. */
export const FLORENCE_TOKENS = (SIDE / PATCH) ** 2;
export const FLORENCE_TASKS = {
  alone: { '<CAPTION>': 'What does the image describe?' },
  withInput: { '<CAPTION_TO_PHRASE_GROUNDING>': 'Locate the phrases in the caption: {input}' },
};

/** Florence-2: an encoder over image and text, a decoder that looks at it, both with one layer. */
export function writeFlorence2(folder: string): void {
  writeExported(folder, {
    config: {
      model_type: 'florence2',
      architectures: ['Florence2ForConditionalGeneration'],
      is_encoder_decoder: true,
      vocab_size: vocabulary,
      decoder_start_token_id: EOS,
      forced_bos_token_id: SPECIAL.indexOf('<s>'),
      text_config: {
        model_type: 'florence2_language',
        is_encoder_decoder: true,
        d_model: hidden,
        decoder_layers: 1,
        encoder_layers: 1,
        decoder_attention_heads: 1,
        encoder_attention_heads: 1,
        max_position_embeddings: context,
        vocab_size: vocabulary,
      },
    },
    preprocessor: squareProcessor(SIDE, {
      processor_class: 'Florence2Processor',
      image_seq_length: FLORENCE_TOKENS,
      task_prompts_without_inputs: FLORENCE_TASKS.alone,
      task_prompts_with_input: FLORENCE_TASKS.withInput,
      tasks_answer_post_processing_type: { '<CAPTION>': 'pure_text' },
    }),
    tokenizer: { added: ['<loc_1>', '<loc_2>', '<poly>'], frame: 'both' },
    vision(graph) {
      const pixels = graph.input('pixel_values', 'float32', ['batch_size', 3, SIDE, SIDE]);
      const features = graph.linear(graph.patches(pixels, PATCH), hidden, hidden);
      graph.output(features, 'image_features', 'float32', ['batch_size', FLORENCE_TOKENS, hidden]);
    },
    encoder,
    decoder,
  });
}

/** Every position beside the mean of all. */
function encoder(graph: TinyGraph): void {
  const embeds = graph.input('inputs_embeds', 'float32', ['batch_size', 'encoder_length', hidden]);
  const mask = graph.input('attention_mask', 'int64', ['batch_size', 'encoder_length']);
  const real = graph.node('Unsqueeze', [graph.cast(mask, 'float32'), graph.ints([2])]);
  const sum = (value: Value) => graph.node('ReduceSum', [value, graph.ints([1])]);
  const mean = graph.node('Div', [sum(graph.node('Mul', [embeds, real])), sum(real)]);
  const mixed = graph.node('Add', [graph.linear(embeds, hidden, hidden), graph.linear(mean, hidden, hidden)]);
  const state = graph.node('Tanh', [mixed]);
  graph.output(state, 'last_hidden_state', 'float32', ['batch_size', 'encoder_length', hidden]);
}

/** Looks at itself, then at the encoder's states; keys and values of those are kept from the first step on. */
function decoder(next: () => number): TinyGraph {
  const graph = new TinyGraph(next);
  const batch = 'batch_size';
  const embeds = graph.input('inputs_embeds', 'float32', [batch, 'decoder_length', hidden]);
  const states = graph.input('encoder_hidden_states', 'float32', [batch, 'encoder_length', hidden]);
  const encoderMask = graph.input('encoder_attention_mask', 'int64', [batch, 'encoder_length']);
  const cached = graph.input('use_cache_branch', 'bool', [1]);
  const past = (kind: string) =>
    graph.input(`past_key_values.0.${kind}`, 'float32', [batch, 1, `past ${kind.split('.')[0]}`, hidden]);
  const present = (kind: string, fresh: Value) => {
    const all = graph.node('Concat', [past(kind), fresh], { axis: { int: 2 } });
    graph.output(all, `present.0.${kind}`, 'float32', [batch, 1, 'total', hidden]);
    return all;
  };
  const heads = (x: Value) => graph.node('Unsqueeze', [x, graph.ints([1])]);
  const length = (x: Value, axis: number) =>
    graph.node('Gather', [graph.node('Shape', [x]), graph.int(axis)], { axis: { int: 0 } });

  const table = graph.random([context, hidden], 0.5);
  const keys = present('decoder.key', heads(graph.linear(embeds, hidden, hidden)));
  const values = present('decoder.value', heads(graph.linear(embeds, hidden, hidden)));
  const total = length(keys, 2);
  const begin = graph.node('Sub', [total, length(embeds, 1)]);
  const range = (from: Value) => graph.node('Range', [from, total, graph.int(1)]);
  const positions = graph.node('Gather', [table, range(begin)], { axis: { int: 0 } });
  const x = graph.node('Add', [embeds, positions]);
  const before = graph.node('LessOrEqual', [
    graph.node('Unsqueeze', [range(graph.int(0)), graph.ints([0])]),
    graph.node('Unsqueeze', [range(begin), graph.ints([1])]),
  ]);
  const own = attend(graph, x, keys, values, before);

  const nothing = graph.node('Where', [cached, graph.ints([0]), graph.node('Shape', [states], span(1))]);
  const fresh = (state: Value) =>
    graph.node('Slice', [heads(state), graph.ints([0]), nothing, graph.ints([2])]);
  const seenKeys = present('encoder.key', fresh(graph.linear(states, hidden, hidden)));
  const seenValues = present('encoder.value', fresh(graph.linear(states, hidden, hidden)));
  const real = graph.node('Unsqueeze', [graph.cast(encoderMask, 'bool'), graph.ints([1, 2])]);
  const seen = attend(graph, own, seenKeys, seenValues, real);
  const logits = graph.linear(seen, hidden, vocabulary);
  graph.output(logits, 'logits', 'float32', [batch, 'decoder_length', vocabulary]);
  return graph;
}

const span = (axis: number) => ({ start: { int: axis }, end: { int: axis + 1 } });

/** x [B, T, hidden] with what it finds in keys and values [B, 1, P, hidden] where it may look. */
function attend(graph: TinyGraph, x: Value, keys: Value, values: Value, may: Value): Value {
  const queries = graph.node('Unsqueeze', [graph.linear(x, hidden, hidden), graph.ints([1])]);
  const turned = graph.node('Transpose', [keys], { perm: { ints: [0, 1, 3, 2] } });
  const scores = graph.node('Mul', [
    graph.node('MatMul', [queries, turned]),
    graph.float(1 / Math.sqrt(hidden)),
  ]);
  const masked = graph.node('Where', [may, scores, graph.float(NEVER)]);
  const found = graph.node('MatMul', [graph.node('Softmax', [masked], { axis: { int: -1 } }), values]);
  return graph.node('Add', [x, graph.node('Squeeze', [found, graph.ints([1])])]);
}
