import { BOX_SCALE, PATCH, SIDE } from './sample.ts';

/** The image tower, as CLIP's. */
export const VISION = {
  model_type: 'clip_vision_model',
  image_size: SIDE,
  patch_size: PATCH,
  num_channels: 3,
  hidden_size: 128,
  intermediate_size: 512,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  layer_norm_eps: 1e-5,
  hidden_act: 'gelu',
};

/** What a value of a pixel is normalised with, all channels alike. */
export const MEAN = 0.45;
export const DEVIATION = 0.25;

export const PREPROCESSOR = {
  image_processor_type: 'CLIPImageProcessor',
  do_convert_rgb: true,
  do_resize: true,
  size: { height: SIDE, width: SIDE },
  resample: 2,
  do_center_crop: false,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [MEAN, MEAN, MEAN],
  image_std: [DEVIATION, DEVIATION, DEVIATION],
};

/** Values that a coordinate of a box may have. */
export const PLACES = BOX_SCALE + 1;
