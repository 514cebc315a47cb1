"""Batches: gathered whole, windowed, augmented in training only, never across a scan's border."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from liverutils.errors import BadInput
from liverutils.runs.machine import machine_facts
from liverutils.slices import (
    Augment,
    Warp,
    apply_window,
    augment,
    loaders,
    slice_loaders,
    split_patients,
)
from liverutils.slices.patches import Patches, cut
from liverutils.slices.slice_set import neighbour_rows


@pytest.fixture(scope="module")
def split(smoke_store):
    return split_patients(smoke_store.slices, seed=0)


def test_window_maps_its_ends_to_minus_one_and_one():
    values = torch.tensor([-1000, -100, 70, 240, 3000], dtype=torch.int16)
    assert apply_window(values, (-100.0, 240.0)).tolist() == [-1, -1, 0, 1, 1]


def test_batches_hold_the_store_s_slices(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=8)
    images, masks = next(iter(dls.valid))
    rows = smoke_store.rows_of(split.valid)[:8]
    assert images.shape == (8, 1, 64, 64) and images.dtype == torch.float32
    assert masks.shape == (8, 64, 64) and masks.dtype == torch.int64
    expected = apply_window(torch.from_numpy(smoke_store.images[rows]), (-100.0, 240.0))
    assert torch.equal(images[:, 0], expected)
    assert np.array_equal(masks, smoke_store.masks[rows])


def test_each_part_shows_its_patients_and_each_slice_once(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=7)
    for part in ("train", "valid", "test"):
        loader = getattr(dls, part)
        assert set(loader.dataset.slices.patient) == set(getattr(split, part))
        assert sorted(loader.get_idxs().tolist()) == list(range(len(loader.dataset)))
    assert sum(len(images) for images, _ in dls.valid) == len(dls.valid.dataset)


def test_validation_and_test_never_see_augmentation(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=8, augment=Augment(rotate=45, flip=0.5))
    plain = slice_loaders(smoke_store, split, batch_size=8)
    for part in ("valid", "test"):
        for _ in range(2):
            shown, own = (next(iter(getattr(some, part)))[0] for some in (dls, plain))
            assert torch.equal(shown, own)
    torch.manual_seed(0)
    changed = next(iter(dls.train))[0]
    torch.manual_seed(0)
    assert not torch.equal(changed, next(iter(plain.train))[0])


def test_labels_as_targets(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=8, target="label")
    _, labels = next(iter(dls.test))
    assert labels.tolist() == smoke_store.slices.label[smoke_store.rows_of(split.test)[:8]].tolist()


def test_context_never_shows_another_scan(smoke_store):
    rows = neighbour_rows(smoke_store.slices, 2)
    volumes = smoke_store.slices.volume.to_numpy()
    index = smoke_store.slices["index"].to_numpy()
    assert (volumes[rows] == volumes[:, None]).all()
    last = smoke_store.slices.groupby("volume")["index"].transform("max").to_numpy()
    for column, offset in enumerate((-2, -1, 0, 1, 2)):
        assert np.array_equal(index[rows[:, column]], np.clip(index + offset, 0, last))


def test_context_follows_the_index_whatever_the_order_of_the_rows():
    slices = pd.DataFrame({"volume": ["b", "a", "b", "a"], "view": "axial", "index": [1, 0, 0, 1]})
    assert neighbour_rows(slices, 1).tolist() == [[2, 0, 0], [1, 1, 3], [2, 2, 0], [1, 3, 3]]


def test_context_slices_become_channels(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=4, context_slices=1)
    images, _ = next(iter(dls.valid))
    assert images.shape == (4, 3, 64, 64)
    assert torch.equal(images[1, 0], images[0, 1])
    assert torch.equal(images[1, 2], images[2, 1])


def test_gathering_ahead_gives_the_same_batches(smoke_store, split, monkeypatch):
    at_once = [images for images, _ in slice_loaders(smoke_store, split, batch_size=8).valid]
    monkeypatch.setattr(loaders, "RESIDENT_SHARE", 0)
    ahead = [images for images, _ in slice_loaders(smoke_store, split, batch_size=8).valid]
    assert len(at_once) == len(ahead)
    assert all(torch.equal(a, b) for a, b in zip(at_once, ahead, strict=True))


def test_an_error_while_gathering_ahead_is_raised(smoke_store, split, monkeypatch):
    monkeypatch.setattr(loaders, "RESIDENT_SHARE", 0)
    dls = slice_loaders(smoke_store, split, batch_size=8)
    dls.valid.dataset.neighbours = dls.valid.dataset.neighbours + len(smoke_store)
    with pytest.raises(IndexError):
        next(iter(dls.valid))


def test_a_warp_moves_pictures_and_labels_alike_and_pads_each_its_own_way():
    pictures, labels = torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    one_right = torch.tensor([[1.0, 0, 2 / 8], [0, 1, 0]]).expand(2, 2, 3)
    warp = Warp(one_right, (8, 8))
    moved, told = warp.pictures(pictures), warp.labels(labels)
    assert torch.allclose(moved[..., :-1], pictures[..., 1:], atol=1e-6)
    assert torch.allclose(moved[..., -1], pictures[..., -1], atol=1e-6)
    assert torch.equal(told[..., :-1], labels[..., 1:].float())
    assert not told[..., -1].any()


def test_augmentation_keeps_masks_masks_and_moves_them_with_the_image():
    torch.manual_seed(0)
    masks = torch.zeros(32, 64, 64, dtype=torch.uint8)
    masks[:, 20:44, 12:36] = 1
    masks[:, 26:38, 18:30] = 2
    images = masks[:, None].float() - 1
    only_geometry = Augment(brightness=0, contrast=0, noise=0)
    moved, moved_masks = only_geometry(images, masks)
    assert set(moved_masks.unique().tolist()) == {0, 1, 2}
    assert not torch.equal(moved_masks, masks)
    inside, outside = moved[:, 0][moved_masks == 2], moved[:, 0][moved_masks == 0]
    assert inside.mean() > 0.85 and outside.mean() < -0.95


def test_a_batch_is_augmented_alike_in_one_piece_and_in_several(monkeypatch):
    images, masks = torch.rand(16, 3, 32, 32), torch.randint(0, 3, (16, 32, 32)).to(torch.uint8)
    changed = []
    for piece in (1, images.numel()):
        monkeypatch.setattr(augment, "PIECE", piece)
        torch.manual_seed(0)
        changed.append(Augment()(images, masks))
    assert torch.equal(changed[0][0], changed[1][0])
    assert torch.equal(changed[0][1], changed[1][1])
    assert not torch.equal(changed[0][0], images)


def test_augmentation_of_nothing_changes_nothing():
    nothing = Augment(rotate=0, scale=0, shift=0, flip=0, brightness=0, contrast=0, noise=0)
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    masks = torch.randint(0, 3, (4, 32, 32), dtype=torch.uint8)
    same, same_masks = nothing(images.clone(), masks)
    assert torch.allclose(same, images, atol=1e-5)
    assert torch.equal(same_masks, masks)


def test_flip_exchanges_left_and_right_only():
    flip = Augment(rotate=0, scale=0, shift=0, flip=1, brightness=0, contrast=0, noise=0)
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    masks = torch.randint(0, 3, (4, 32, 32), dtype=torch.uint8)
    flipped, flipped_masks = flip(images.clone(), masks)
    assert torch.allclose(flipped, images.flip(-1), atol=1e-4)
    assert torch.equal(flipped_masks, masks.flip(-1))


def test_the_seed_fixes_order_and_augmentation(smoke_store, split):
    dls = slice_loaders(smoke_store, split, batch_size=8, augment=Augment())

    def epoch(seed):
        torch.manual_seed(seed)
        return torch.cat([images for images, _ in dls.train])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def patch_loader(store, split, **settings):
    settings = {"batch_size": 8, "patch_size": 32, "lesion_share": 0.25} | settings
    return slice_loaders(store, split, **settings)


def middle(masks):
    """The middle half of patches (B, S, S), and the pixels around it that rounding may reach."""
    quarter = masks.shape[-1] // 4
    return masks[:, quarter : -quarter + 1, quarter : -quarter + 1]


def test_patches_lie_on_lesions_and_liver_in_the_shares_asked_for(smoke_store, split):
    loader = patch_loader(smoke_store, split).train
    n = len(loader.dataset)
    torch.manual_seed(0)
    everywhere = torch.zeros(2)
    for _ in range(5):
        loader.get_idxs()
        _, masks, _ = loader.dataset.gather(loader.order, loader.corners, 32)
        labels = middle(masks).flatten(1).amax(1)
        everywhere += torch.tensor([(labels == 2).sum(), (labels >= 1).sum()])
    lesions, livers = (everywhere / 5 / n).tolist()
    assert lesions >= round(n / 4) / n and livers >= 2 * round(n / 4) / n
    loader.patches.lesion_share = 0
    loader.get_idxs()
    _, masks, _ = loader.dataset.gather(loader.order, loader.corners, 32)
    assert (middle(masks).flatten(1).amax(1) == 2).float().mean() < lesions


def test_the_patches_asked_for_are_centred_on_what_was_asked():
    masks = torch.zeros(6, 40, 40, dtype=torch.uint8)
    masks[1:5, 5:30, 5:30] = 1
    masks[3, 6:8, 6:8], masks[3, 20:30, 20:30] = 2, 2  # two lesions of one slice
    patches = Patches(masks, torch.arange(6), size=8, lesion_share=0.5)
    torch.manual_seed(0)
    order, corners = patches.draw(torch.arange(6).repeat(200))
    cuts = cut(masks, order[:, None], corners, 8)[:, 0]
    labels = middle(cuts).flatten(1).amax(1)
    assert (labels == 2).sum() >= 600 and (labels == 0).sum() == 0
    small = (order == 3) & (corners < 12).all(1) & (labels == 2)
    assert 240 < small.sum() < 360  # as often as the large one, or nearly so
    assert (corners >= 0).all() and (corners <= 32).all()


def test_a_share_of_nothing_lies_anywhere():
    masks = torch.zeros(3, 16, 16, dtype=torch.uint8)
    patches = Patches(masks, torch.arange(3), size=16, lesion_share=0.5)
    order, corners = patches.draw(torch.tensor([2, 0, 1]))
    assert order.tolist() == [2, 0, 1] and not corners.any()


@pytest.mark.parametrize("augment", [None, Augment(brightness=0, contrast=0, noise=0)])
def test_image_and_mask_of_a_patch_show_the_same_place(smoke_store, split, augment):
    painted = painted_with_masks(smoke_store)
    for images, masks in patch_loader(painted, split, augment=augment, context_slices=1).train:
        assert images.shape == (8, 3, 32, 32) and masks.shape == (8, 32, 32)
        shown = (images[:, 1] + 1).round()
        agree = (shown == masks).float().mean()
        assert agree == 1 if augment is None else agree > 0.97


def painted_with_masks(store):
    """The store with pictures of its masks: a label of 2 shows as the window's end."""
    return replace(store, images=(170 * store.masks.astype(np.int16) - 100).astype(np.int16))


def test_a_patch_without_augmentation_is_a_piece_of_its_slice(smoke_store, split):
    loader = patch_loader(smoke_store, split).train
    images, masks = next(iter(loader))
    for number in range(8):
        row = loader.dataset.rows[loader.order[number]]
        top, left = loader.corners[number].tolist()
        place = np.s_[row, top : top + 32, left : left + 32]
        assert np.array_equal(masks[number], smoke_store.masks[place])
        expected = apply_window(torch.from_numpy(smoke_store.images[place]), (-100.0, 240.0))
        assert torch.equal(images[number, 0], expected)


def test_what_turns_into_a_patch_comes_from_the_slice_around_it():
    turn = Augment(rotate=20, scale=0, shift=0, brightness=0, contrast=0, noise=0)
    images = torch.linspace(-1, 1, 96).expand(64, 1, 96, 96).contiguous()
    torch.manual_seed(0)
    whole, _ = turn(images, torch.zeros(64, 96, 96, dtype=torch.uint8))
    torch.manual_seed(0)
    patch, masks = turn(images, torch.zeros(64, 96, 96, dtype=torch.uint8), 32)
    assert patch.shape == (64, 1, 32, 32) and masks.shape == (64, 32, 32)
    assert torch.allclose(patch, whole[:, :, 32:64, 32:64], atol=1e-4)


def test_validation_and_test_show_whole_slices(smoke_store, split):
    dls = patch_loader(smoke_store, split)
    plain = slice_loaders(smoke_store, split, batch_size=8)
    for number in (1, 2):
        for (images, masks), (whole, true) in zip(dls[number], plain[number], strict=True):
            assert torch.equal(images, whole) and torch.equal(masks, true)


def test_the_label_of_a_patch_is_its_own(smoke_store, split):
    for _, (masks, labels) in patch_loader(smoke_store, split, target="both").train:
        assert torch.equal(labels, masks.flatten(1).amax(1))


def test_the_seed_fixes_patches_and_gathering_ahead_gives_the_same(smoke_store, split, monkeypatch):
    dls = patch_loader(smoke_store, split, augment=Augment())

    def epoch(seed):
        torch.manual_seed(seed)
        return torch.cat([images for images, _ in dls.train])

    first = epoch(1)
    assert torch.equal(first, epoch(1))
    assert not torch.equal(first, epoch(2))
    dls = patch_loader(smoke_store, split)
    at_once = epoch(1)
    monkeypatch.setattr(loaders, "RESIDENT_SHARE", 0)
    assert torch.equal(at_once, epoch(1))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch_size": 65}, "patch_size is 65, but the slices have 64"),
        ({"patch_size": -1}, "patch_size is -1"),
        ({"lesion_share": 0.6}, "lesion_share is 0.6"),
        ({"lesion_share": -0.1}, "lesion_share is -0.1"),
        ({"target": "label"}, "patch_size must be 0"),
    ],
)
def test_patches_that_cannot_be_are_said(smoke_store, split, settings, sentence):
    with pytest.raises(BadInput, match=sentence):
        patch_loader(smoke_store, split, **settings)


def test_a_store_that_lies_on_the_device_goes_through_no_thread(smoke_store, split, monkeypatch):
    # As "cuda" is not equal to "cuda:0", where a tensor sent to "cuda" says it lies.
    assert torch.device("cpu:0") != torch.zeros(1).device

    def never(*_, **__):
        raise AssertionError("gathered by a thread")

    monkeypatch.setattr(loaders, "gathered_ahead", never)
    dls = slice_loaders(smoke_store, split, batch_size=8, device="cpu:0")
    assert len(next(iter(dls.valid))[0]) == 8


def test_the_revision_of_a_copy_without_git_is_the_one_given(monkeypatch):
    monkeypatch.setenv("GIT_REVISION", "abc1234")
    assert machine_facts()["git_revision"] == "abc1234"
