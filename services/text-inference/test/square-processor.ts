/** The image processor of CLIP and SigLIP: a square, in numbers around zero. */
export function squareProcessor(side: number, more: Record<string, unknown>): Record<string, unknown> {
  const size = { height: side, width: side };
  return {
    image_processor_type: 'CLIPImageProcessor',
    size,
    crop_size: size,
    do_resize: true,
    do_center_crop: true,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.25, 0.25, 0.25],
    resample: 3,
    ...more,
  };
}
