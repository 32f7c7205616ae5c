import type { VisionRoute } from '../context.ts';
import type { Content } from '../embedding/embeddings.ts';

export const embed: VisionRoute<'embed'> =
  ({ versions, embeddings }) =>
  async ({ model: asked, images, texts }, { identity: { tenant }, signal }) => {
    const model = await versions.find(tenant, asked, 'model', signal);
    const contents: Content[] = [
      ...images.map(({ content }, i) => ({ field: `images[${i}].content`, image: content })),
      ...texts.map((text, i) => ({ field: `texts[${i}]`, text })),
    ];
    const vectors = await embeddings.embed(model, contents, signal);
    return { model: model.ref, embeddings: vectors.map((vector) => ({ values: [...vector] })) };
  };
